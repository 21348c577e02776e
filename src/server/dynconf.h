/* dynconf.h - the files that keep the ensemble's configuration between starts. Private to server.
 *
 * <cfg>.dynamic.<hex version>  a committed configuration, version in the name; dynamicConfigFile in <cfg> names the current one. Older ones stay
 * <cfg>.dynamic.next           a proposed one, with a version line; gone when nothing is proposed
 * <cfg>.bak                    <cfg> as it was before the first of these replaced its server lines
 * Every file is replaced as a whole and durable on return; <cfg> and <cfg>.bak have the owner and the mode of <cfg>, which may hold passwords. <cfg> keeps its comments and the order of its lines, where the reference writes it anew.
 * Source: QuorumPeerConfig.writeDynamicConfig, editStaticConfig, backupOldConfig; QuorumPeer.setQuorumVerifier (3.9.5). */
#ifndef SERVER_DYNCONF_H
#define SERVER_DYNCONF_H

#include "storage/storage.h"
#include "zab/quorum.h"

/* Appends the lines of c in the order of the reference's files (as texts), without a newline at the end. */
void dynconf_text(struct wr *w, const struct quorum_config *c, bool with_version);
/* Appends the static file's text without server, group, weight, peerType and dynamicConfigFile lines (and clientPort* when drop_client_port), and
 * with a last line that names the dynamic file. RC_MALFORMED: not a properties text. */
int dynconf_edit(struct wr *w, struct buf text, bool drop_client_port, const char *dynamic_file);

/* cfg_path: of the static file. RC_IO and what a vfs returns, reason in err. */
int dynconf_write_next(const struct vfs *vfs, const char *cfg_path, const struct quorum_config *c, struct storage_error *err);
void dynconf_drop_next(const struct vfs *vfs, const char *cfg_path);
/* Writes the dynamic file of c, then makes cfg_path name it. */
int dynconf_commit(const struct vfs *vfs, const char *cfg_path, const struct quorum_config *c, int64_t my_sid, struct storage_error *err);
int dynconf_backup(const struct vfs *vfs, const char *cfg_path, const char *text, struct storage_error *err);

#endif

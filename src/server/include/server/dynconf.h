/* dynconf.h - the files that keep the ensemble's configuration between starts. All of it goes through a vfs.
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
/* What the files say at a start. The dynamic file carries its version in its name; *ret owned. RC_INVAL: not an ensemble's list; RC_NOTFOUND, RC_IO. */
int dynconf_read(const struct vfs *vfs, const char *path, const struct quorum_options *opt, struct quorum_config **ret, struct storage_error *err);
/* The proposed one, *ret owned; NULL and 0: none was when the server stopped, or not one after `committed`: the file outlives its commit until the static file
 * is edited, and a crash may come between. */
int dynconf_read_next(const struct vfs *vfs, const char *cfg_path, const struct quorum_options *opt, const struct quorum_config *committed,
                      struct quorum_config **ret, struct storage_error *err);

/* What a running server keeps: config_seen and config_active of peer_host.h. A committed list that the static file could not be made to name stays as
 * the proposed one, which the next start takes beside the old one: a server that forgot it could make a quorum of the old list with others that did. */
struct dynconf_keeper {
    const struct vfs *vfs;
    const char *cfg_path;         /* borrowed; NULL: nothing can be kept */
    int64_t my_sid;
    struct quorum_config *unkept; /* a reference; NULL: none */
};
void dynconf_seen(struct dynconf_keeper *k, struct quorum_config *c);
void dynconf_active(struct dynconf_keeper *k, struct quorum_config *c);
void dynconf_keeper_done(struct dynconf_keeper *k);

int dynconf_backup(const struct vfs *vfs, const char *cfg_path, const char *text, struct storage_error *err);

#endif

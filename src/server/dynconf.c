/* dynconf.c - the files that keep the ensemble's configuration between starts. */
#include "server/dynconf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/str.h"
#include "properties.h"

#define STATIC_MAX (1 << 20)

/* ---- texts ---- */

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void dynconf_text(struct wr *w, const struct quorum_config *c, bool with_version)
{
    size_t n = 0, kept = 0;
    char **lines = str_split((const char *)c->text.p, "\n", &n);

    qsort(lines, n, sizeof(*lines), compare_lines);
    for (size_t i = 0; i < n; i++)
        if (with_version || !str_has_prefix(lines[i], "version"))
            wr_printf(w, "%s%s", kept++ > 0 ? "\n" : "", lines[i]);
    str_split_free(lines);
}

static bool is_dropped(const char *key, bool drop_client_port)
{
    static const char *const prefixes[] = { "server.", "group", "weight", "dynamicConfigFile", "peerType" };

    if (str_has_prefix(key, "zookeeper.")) /* our reader takes keys so, too */
        key += strlen("zookeeper.");
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (str_has_prefix(key, prefixes[i]))
            return true;
    return drop_client_port && (strcmp(key, "clientPort") == 0 || strcmp(key, "clientPortAddress") == 0);
}

/* What follows must not be taken for the rest of the last line, which may end in a backslash. */
static void end_line(struct wr *w)
{
    size_t n = w->n;

    if (n > 0 && w->p[n - 1] != '\n')
        wr_text(w, "\n");
    while (n > 0 && (w->p[n - 1] == '\n' || w->p[n - 1] == '\r'))
        n--;
    if (n > 0 && w->p[n - 1] == '\\')
        wr_text(w, "\n");
}

int dynconf_edit(struct wr *w, struct buf text, bool drop_client_port, const char *dynamic_file)
{
    struct properties in = properties_init((const char *)text.p, text.n);
    const char *done = in.p;
    int more;

    while ((more = properties_next(&in)) > 0) {
        wr_bytes(w, done, (size_t)(in.raw - done)); /* comments and blank lines */
        if (!is_dropped(wr_cstr(&in.key), drop_client_port))
            wr_bytes(w, in.raw, (size_t)(in.p - in.raw));
        done = in.p;
    }
    wr_bytes(w, done, (size_t)(in.end - done));
    properties_done(&in);
    if (more < 0)
        return more;
    end_line(w);
    wr_text(w, "dynamicConfigFile=");
    for (const char *s = dynamic_file; *s; s++) {
        if (*s == '\\')
            wr_u8(w, '\\');
        wr_u8(w, (uint8_t)*s);
    }
    wr_text(w, "\n");
    return 0;
}

/* ---- files ---- */

static int fail(struct storage_error *err, int rc, const char *what, const char *path)
{
    (void)snprintf(err->text, sizeof(err->text), "%s %s: %s", what, path, errno ? strerror(errno) : rc_str(rc)); /* a longer path is cut */
    return rc;
}

static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == path ? x_strdup("/") : slash ? x_strndup(path, (size_t)(slash - path)) : x_strdup(".");
}

/* like: the file whose owner and mode it gets, before a byte is in it: a static file may hold passwords, and is then not everybody's to read. NULL: everybody
 * may read it. */
static int write_whole(const struct vfs *vfs, const char *path, const char *like, struct buf text, struct storage_error *err)
{
    struct vfs_file *f;

    if (like)
        (void)vfs->remove(vfs->ctx, path); /* one that a crash left may be open to all */
    errno = 0;
    int rc = vfs->open(vfs->ctx, path, VFS_WRITE | VFS_CREATE | VFS_TRUNCATE | (like ? VFS_PRIVATE : 0), &f);
    if (rc < 0)
        return fail(err, rc, "create", path);
    if (like && vfs->take_owner)
        vfs->take_owner(vfs->ctx, path, like);
    errno = 0;
    rc = vfs->write_at(f, text.p, text.n, 0);
    if (rc == 0)
        rc = vfs->sync(f);
    vfs->close(f);
    return rc < 0 ? fail(err, rc, "write", path) : 0;
}

static int replace(const struct vfs *vfs, const char *path, const char *like, struct buf text, struct storage_error *err)
{
    char *tmp = x_asprintf("%s.tmp", path), *dir = dir_of(path);

    int rc = write_whole(vfs, tmp, like, text, err);
    if (rc == 0 && (rc = vfs->rename(vfs->ctx, tmp, path)) < 0)
        rc = fail(err, rc, "rename to", path);
    if (rc == 0 && (rc = vfs->sync_dir(vfs->ctx, dir)) < 0)
        rc = fail(err, rc, "sync", dir);
    if (rc < 0)
        (void)vfs->remove(vfs->ctx, tmp); /* there may be none */
    free(tmp);
    free(dir);
    return rc;
}

static int read_whole(const struct vfs *vfs, const char *path, int64_t max, struct wr *w, struct storage_error *err)
{
    struct vfs_file *f;
    int64_t size;

    errno = 0;
    int rc = vfs->open(vfs->ctx, path, VFS_READ, &f);
    if (rc < 0)
        return fail(err, rc, "open", path);
    size = vfs->size(f);
    if (size > max)
        size = RC_TOOBIG;
    if (size > 0) {
        uint8_t *bytes = x_malloc((size_t)size);
        size = vfs->read_at(f, bytes, (size_t)size, 0);
        if (size > 0)
            wr_bytes(w, bytes, (size_t)size);
        free(bytes);
    }
    vfs->close(f);
    return size < 0 ? fail(err, (int)size, "read", path) : 0;
}

static char *next_path(const char *cfg_path)
{
    return x_asprintf("%s.dynamic.next", cfg_path);
}

int dynconf_write_next(const struct vfs *vfs, const char *cfg_path, const struct quorum_config *c, struct storage_error *err)
{
    struct wr w = wr_init(0);
    char *path = next_path(cfg_path);

    dynconf_text(&w, c, true);
    int rc = replace(vfs, path, NULL, buf_of(w.p, w.n), err);
    wr_free(&w);
    free(path);
    return rc;
}

void dynconf_drop_next(const struct vfs *vfs, const char *cfg_path)
{
    char *path = next_path(cfg_path);

    (void)vfs->remove(vfs->ctx, path); /* usually there is none; one that stays is older than what is committed */
    free(path);
}

static int edit_static(const struct vfs *vfs, const char *cfg_path, const char *dynamic_file, bool drop_client_port, struct storage_error *err)
{
    struct wr before = wr_init(0), after = wr_init(0);
    int rc = read_whole(vfs, cfg_path, STATIC_MAX, &before, err);

    errno = 0;
    if (rc == 0 && (rc = dynconf_edit(&after, buf_of(before.p, before.n), drop_client_port, dynamic_file)) < 0)
        rc = fail(err, rc, "edit", cfg_path);
    if (rc == 0)
        rc = replace(vfs, cfg_path, cfg_path, buf_of(after.p, after.n), err);
    wr_free(&before);
    wr_free(&after);
    return rc;
}

int dynconf_commit(const struct vfs *vfs, const char *cfg_path, const struct quorum_config *c, int64_t my_sid, struct storage_error *err)
{
    const struct quorum_member *me = quorum_config_member(c, my_sid);
    char *real = vfs->absolute ? vfs->absolute(vfs->ctx, cfg_path) : x_strdup(cfg_path), *path = x_asprintf("%s.dynamic.%llx", real, (unsigned long long)c->version);
    struct wr w = wr_init(0);

    dynconf_text(&w, c, false);
    int rc = replace(vfs, path, NULL, buf_of(w.p, w.n), err);
    if (rc == 0)
        rc = edit_static(vfs, cfg_path, path, me && me->client_port != 0, err);
    wr_free(&w);
    free(path);
    free(real);
    return rc;
}

int dynconf_backup(const struct vfs *vfs, const char *cfg_path, const char *text, struct storage_error *err)
{
    char *path = x_asprintf("%s.bak", cfg_path);
    int rc = replace(vfs, path, cfg_path, buf_str(text), err);

    free(path);
    return rc;
}

/* ---- at a start ---- */

static int bad(struct storage_error *err, const char *path, const char *why)
{
    (void)snprintf(err->text, sizeof(err->text), "%s: %s", path, why); /* a longer one is cut */
    return RC_INVAL;
}

/* "zoo.cfg.dynamic.100000003" */
static int64_t version_in_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    char *end = NULL;
    unsigned long long v = dot && dot[1] ? strtoull(dot + 1, &end, 16) : 0;

    return end && *end == '\0' && v <= INT64_MAX ? (int64_t)v : 0;
}

int dynconf_read(const struct vfs *vfs, const char *path, const struct quorum_options *opt, struct quorum_config **ret,
                 struct storage_error *err)
{
    struct wr w = wr_init(0);
    struct quorum_config *c = NULL;
    struct quorum_error why = { "" };
    int rc = read_whole(vfs, path, QUORUM_TEXT_MAX, &w, err);

    if (rc == 0 && (str_has_prefix(wr_cstr(&w), "version") || strstr(wr_cstr(&w), "\nversion")))
        rc = bad(err, path, "a line \"version\" must not be in it: the file's name says it");
    else if (rc == 0 && quorum_config_parse(buf_of(w.p, w.n), opt, &c, &why) < 0)
        rc = bad(err, path, why.text);
    if (rc == 0)
        *ret = quorum_config_with_version(c, version_in_name(path));
    quorum_config_unref(c);
    wr_free(&w);
    return rc;
}

int dynconf_read_next(const struct vfs *vfs, const char *cfg_path, const struct quorum_options *opt, const struct quorum_config *committed,
                      struct quorum_config **ret, struct storage_error *err)
{
    char *path = next_path(cfg_path);
    struct wr w = wr_init(0);
    struct quorum_error why = { "" };
    int rc = read_whole(vfs, path, QUORUM_TEXT_MAX, &w, err);

    *ret = NULL;
    if (rc == RC_NOTFOUND)
        rc = 0;
    else if (rc == 0 && quorum_config_parse(buf_of(w.p, w.n), opt, ret, &why) < 0)
        rc = bad(err, path, why.text);
    if (*ret && (*ret)->version <= committed->version) {
        quorum_config_unref(*ret);
        *ret = NULL;
    }
    wr_free(&w);
    free(path);
    return rc;
}

/* ---- what a running server keeps ---- */

/* As the reference, we go on without: a directory of configuration files is often not ours to write. */
static void not_kept(const struct dynconf_keeper *k, const char *why)
{
    log_error("quorum", "the configuration is not kept for the next start%s%s", k->cfg_path ? ": " : "", k->cfg_path ? why : "");
}

void dynconf_seen(struct dynconf_keeper *k, struct quorum_config *c)
{
    struct storage_error err = { "" };

    if (!k->cfg_path)
        return;
    if (!c)
        c = k->unkept;
    if (!c)
        dynconf_drop_next(k->vfs, k->cfg_path);
    else if (dynconf_write_next(k->vfs, k->cfg_path, c, &err) < 0)
        not_kept(k, err.text);
}

void dynconf_active(struct dynconf_keeper *k, struct quorum_config *c)
{
    struct storage_error err = { "" };

    quorum_config_unref(k->unkept);
    k->unkept = NULL;
    if (k->cfg_path && dynconf_commit(k->vfs, k->cfg_path, c, k->my_sid, &err) == 0)
        return;
    not_kept(k, err.text);
    k->unkept = quorum_config_ref(c);
}

void dynconf_keeper_done(struct dynconf_keeper *k)
{
    quorum_config_unref(k->unkept);
    k->unkept = NULL;
}

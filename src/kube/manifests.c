/* manifests.c - the source over files: finds them, reads what changed, and delivers the difference.
 *
 * inotify says that something happened in the directory, no more: every event leads to a look at all files (stat), and
 * those that changed are read. That makes editors that rename, ConfigMap volumes that swap the symbolic link
 * ..data, and plain copies one and the same case. A slow poll backs it up where inotify is blind: a
 * directory that was replaced, a link into elsewhere, a network file system. */
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/str.h"
#include "manifest_file.h"
#include "source.h"

#define SETTLE_MS 50         /* quiet time after the last event before files are read */
#define SETTLE_MAX_MS 400    /* no longer than this, however busy the directory is */
#define VANISH_MS 250        /* a file must be gone, or empty, for this long before its objects are */
#define POLL_MS 2000
#define POLL_BLIND_MS 400    /* when inotify does not work, or the path itself is a symbolic link */
#define RECENT_MS 2000       /* a file changed so lately may change again without a new timestamp */
#define FILE_BYTES_MAX ((size_t)16 << 20)
#define FILES_MAX 10000

struct file {
    struct manifest_objects objects;
    struct stat st;
    uint64_t hash;         /* of the content that objects come from */
    bool read, failed;     /* once read; the last attempt failed (and was reported) */
    bool found;            /* by the scan that runs */
    int64_t vanish_ms;     /* since when it is gone or empty; 0: it is not */
};

struct manifests {
    struct kube_source source; /* first */
    uv_loop_t *loop;
    char *path, *dir;      /* what was named; the directory that is watched */
    bool is_dir;
    uv_fs_event_t watch;
    uv_timer_t settle, poll;
    struct stat watched;   /* the directory that the watch is on */
    bool watching, path_failed, forced;
    int64_t first_event_ms; /* of the burst that waits; 0: none */
    struct strmap files;   /* path -> struct file */
    struct strmap delivered; /* key -> json_t */
    struct kube_stats stats;
    int open_handles;
};

static void on_settle(uv_timer_t *timer);

/* ---- reports ---- */

static void report(void *data, const char *file, uint32_t line, const char *text)
{
    struct manifests *m = data;
    m->stats.errors++;
    kube_source_problem(&m->source, "%s:%u: %s", file, line, text);
}

/* ---- files ---- */

static void file_free(void *p)
{
    struct file *f = p;
    manifest_objects_free(&f->objects);
    free(f);
}

static bool same_stat(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Two writes within one tick of the file system's clock have one timestamp. */
static bool is_recent(const struct stat *st)
{
    int64_t changed_ms = (int64_t)st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000;
    return clock_wall_ms() - changed_ms < RECENT_MS;
}

/* Gone or emptied: an editor may be in between. True when it has lasted. */
static bool vanished(struct manifests *m, struct file *f)
{
    int64_t now_ms = clock_mono_ms();

    if (f->vanish_ms == 0) {
        f->vanish_ms = now_ms;
        uv_timer_start(&m->settle, on_settle, VANISH_MS, 0);
        return false;
    }
    if (now_ms - f->vanish_ms >= VANISH_MS)
        return true;
    uv_timer_start(&m->settle, on_settle, (uint64_t)(VANISH_MS - (now_ms - f->vanish_ms)), 0);
    return false;
}

static void read_failed(struct manifests *m, struct file *f, const char *path, int rc)
{
    if (!f->failed)
        kube_source_problem(&m->source, "%s: %s", path,
                            rc == RC_TOOBIG ? "larger than 16 MiB" : strerror(errno));
    m->stats.errors += !f->failed;
    f->failed = true;
}

/* True when the objects changed. */
static bool read_file(struct manifests *m, struct file *f, const char *path, const struct stat *st)
{
    const struct manifest_sink sink = { m, report };
    uint8_t *text;
    size_t n;

    int rc = file_read(path, FILE_BYTES_MAX, &text, &n);
    if (rc) {
        read_failed(m, f, path, rc);
        return false;
    }
    f->failed = false;
    if (n == 0 && f->objects.len > 0 && !vanished(m, f)) {
        free(text);
        return false;
    }
    if (n > 0)
        f->vanish_ms = 0;
    uint64_t hash = hash_bytes(text, n);
    bool changed = !f->read || hash != f->hash;
    if (changed)
        manifest_file_update(path, (const char *)text, n, &f->objects, &sink);
    free(text);
    f->hash = hash;
    f->st = *st;
    f->read = true;
    return changed;
}

static bool look_at(struct manifests *m, const char *path)
{
    struct file *f = strmap_get_s(&m->files, path);
    struct stat st;

    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    if (!f) {
        if (m->files.len >= FILES_MAX)
            return false;
        f = x_calloc(1, sizeof *f);
        strmap_set_s(&m->files, path, f);
    }
    f->found = true;
    if (st.st_size > 0)
        f->vanish_ms = 0;
    bool same = f->read && same_stat(&f->st, &st);
    if (same && !f->failed && f->vanish_ms == 0 && !(m->forced && is_recent(&st)))
        return false;
    return read_file(m, f, path, &st);
}

static bool is_manifest_name(const char *name)
{
    return name[0] != '.' && (str_has_suffix(name, ".yaml") || str_has_suffix(name, ".yml") ||
                              str_has_suffix(name, ".json"));
}

/* 0 or -errno. *changed is set when any object changed. */
static int look_at_all(struct manifests *m, bool *changed)
{
    struct stat st;
    struct dirent *e;

    if (!m->is_dir) {
        *changed |= look_at(m, m->path);
        return stat(m->path, &st) == 0 ? 0 : -errno;
    }
    DIR *d = opendir(m->path);
    if (!d)
        return -errno;
    while ((e = readdir(d)) != NULL) {
        if (!is_manifest_name(e->d_name))
            continue;
        char *path = x_asprintf("%s%s%s", m->path, str_has_suffix(m->path, "/") ? "" : "/", e->d_name);
        *changed |= look_at(m, path);
        free(path);
    }
    closedir(d);
    return 0;
}

/* Files of before that are not there any more. */
static bool drop_vanished(struct manifests *m)
{
    struct VEC(char *) gone = { 0 };

    STRMAP_EACH(slot, &m->files)
    {
        struct file *f = slot->value;
        if (!f->found && vanished(m, f))
            VEC_PUSH(&gone, x_strdup(slot->key));
        f->found = false;
    }
    for (size_t i = 0; i < gone.len; i++) {
        file_free(strmap_del_s(&m->files, gone.items[i]));
        free(gone.items[i]);
    }
    bool any = gone.len > 0;
    VEC_FREE(&gone);
    return any;
}

/* ---- delivering the difference ---- */

struct VEC_keys VEC(char *);

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Keys in order: namespaces, then services, then slices, because the kind's number comes first. */
static struct VEC_keys sorted_keys(const struct strmap *map)
{
    struct VEC_keys keys = { 0 };
    STRMAP_EACH(slot, map)
    {
        VEC_PUSH(&keys, slot->key);
    }
    if (keys.len > 0)
        qsort(keys.items, keys.len, sizeof *keys.items, by_text);
    return keys;
}

/* Splits "<kind>/<namespace>/<name>" in place. */
static enum kube_kind split_key(char *key, const char **ns, const char **name)
{
    char *slash = strrchr(key, '/');
    *slash = '\0';
    *ns = key + 2;
    *name = slash + 1;
    return (enum kube_kind)(key[0] - '0');
}

static void deliver_upsert(struct manifests *m, const char *key, json_t *json)
{
    json_t *have = strmap_get_s(&m->delivered, key);
    const char *ns, *name;

    if (have && json_equal(have, json))
        return;
    json_decref(strmap_set_s(&m->delivered, key, json_incref(json)));
    m->stats.events++;
    if (m->source.closing || !m->source.handler.on_upsert)
        return;
    char *parts = x_strdup(key);
    enum kube_kind kind = split_key(parts, &ns, &name);
    const struct kube_object obj = { kind, ns, name, "", "", json };
    m->source.handler.on_upsert(m->source.handler.data, &obj);
    free(parts);
}

static void deliver_delete(struct manifests *m, const char *key)
{
    const char *ns, *name;
    char *parts = x_strdup(key);

    json_decref(strmap_del_s(&m->delivered, key));
    m->stats.events++;
    enum kube_kind kind = split_key(parts, &ns, &name);
    if (!m->source.closing && m->source.handler.on_delete)
        m->source.handler.on_delete(m->source.handler.data, kind, ns, name);
    free(parts);
}

/* What is new comes before what is gone, so that a renamed thing is never absent. */
static void deliver(struct manifests *m)
{
    const struct manifest_sink sink = { m, report };
    struct manifest_set set = { 0 };
    struct VEC_keys names = sorted_keys(&m->files);

    /* Files that seem to vanish come last and say nothing: their objects may have moved into another file. */
    for (size_t i = 0; i < 2 * names.len; i++) {
        const char *name = names.items[i % names.len];
        struct file *f = strmap_get_s(&m->files, name);
        if ((f->vanish_ms != 0) == (i >= names.len))
            manifest_set_add(&set, name, &f->objects, f->vanish_ms ? NULL : &sink);
    }
    manifest_set_finish(&set);
    VEC_FREE(&names);
    struct VEC_keys keys = sorted_keys(&set.objects);
    for (size_t i = 0; i < keys.len; i++)
        deliver_upsert(m, keys.items[i], strmap_get_s(&set.objects, keys.items[i]));
    VEC_FREE(&keys);
    keys = sorted_keys(&m->delivered);
    for (size_t i = keys.len; i > 0; i--) {
        if (strmap_get_s(&set.objects, keys.items[i - 1]))
            continue;
        char *key = x_strdup(keys.items[i - 1]); /* the map owns the other one */
        deliver_delete(m, key);
        free(key);
    }
    VEC_FREE(&keys);
    manifest_set_free(&set);
    m->stats.lists++;
    for (int k = 0; k < KUBE_KIND_COUNT; k++) {
        m->stats.synced[k] = true;
        if (!m->source.closing && m->source.handler.on_synced)
            m->source.handler.on_synced(m->source.handler.data, (enum kube_kind)k);
    }
}

/* ---- scans ---- */

static void on_fs_event(uv_fs_event_t *watch, const char *name, int events, int status)
{
    struct manifests *m = watch->data;
    int64_t now_ms = clock_mono_ms();

    if (m->first_event_ms == 0)
        m->first_event_ms = now_ms;
    m->forced = true;
    int64_t left_ms = m->first_event_ms + SETTLE_MAX_MS - now_ms;
    uv_timer_start(&m->settle, on_settle, (uint64_t)MIN(MAX(left_ms, 0), SETTLE_MS), 0);
}

/* The watch stays with a directory's inode; when another directory has taken the name, it must move. */
static void watch_directory(struct manifests *m)
{
    struct stat st;

    if (stat(m->dir, &st) != 0) {
        m->watching = false;
        return;
    }
    if (m->watching && st.st_ino == m->watched.st_ino && st.st_dev == m->watched.st_dev)
        return;
    uv_fs_event_stop(&m->watch);
    m->watching = uv_fs_event_start(&m->watch, on_fs_event, m->dir, 0) == 0;
    m->watched = st;
}

static void arm_poll(struct manifests *m);

static void scan(struct manifests *m)
{
    bool changed = false;

    m->first_event_ms = 0;
    watch_directory(m); /* before the look: what happens in between is seen twice, not never */
    int rc = look_at_all(m, &changed);
    if (rc) { /* The path itself is gone: an error, not the wish to remove everything. */
        STRMAP_EACH(slot, &m->files)
        {
            ((struct file *)slot->value)->found = false;
        }
        if (!m->path_failed)
            kube_source_problem(&m->source, "%s: %s; what it held stands", m->path, strerror(-rc));
        m->stats.errors += !m->path_failed;
        m->path_failed = true;
    } else {
        m->path_failed = false;
        m->stats.last_contact_ms = clock_mono_ms();
        changed |= drop_vanished(m);
    }
    m->forced = false;
    if ((changed || m->stats.lists == 0) && rc == 0)
        deliver(m);
    if (!m->source.closing)
        arm_poll(m);
}

static void on_settle(uv_timer_t *timer)
{
    scan(timer->data);
}

static void on_poll(uv_timer_t *timer)
{
    scan(timer->data);
}

static void arm_poll(struct manifests *m)
{
    struct stat st;
    bool blind = !m->watching || m->path_failed || (lstat(m->path, &st) == 0 && S_ISLNK(st.st_mode));
    uv_timer_start(&m->poll, on_poll, blind ? POLL_BLIND_MS : POLL_MS, 0);
}

/* ---- life ---- */

static void manifests_stats(const struct kube_source *s, struct kube_stats *ret)
{
    *ret = ((const struct manifests *)s)->stats;
}

static void json_free(void *p)
{
    json_decref(p);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct manifests *m = handle->data;
    if (--m->open_handles > 0)
        return;
    strmap_free(&m->files, file_free);
    strmap_free(&m->delivered, json_free);
    free(m->path);
    free(m->dir);
    kube_source_closed(&m->source);
}

static void manifests_close(struct kube_source *s)
{
    struct manifests *m = (struct manifests *)s;
    m->open_handles = 3;
    uv_close((uv_handle_t *)&m->watch, on_handle_closed);
    uv_close((uv_handle_t *)&m->settle, on_handle_closed);
    uv_close((uv_handle_t *)&m->poll, on_handle_closed);
}

static const struct kube_source_ops manifests_ops = { manifests_stats, manifests_close };

static int rc_of_errno(int e)
{
    return e == ENOENT || e == ENOTDIR ? RC_NOTFOUND : e == EACCES || e == EPERM ? RC_DENIED : RC_IO;
}

/* Can it be read at all? */
static int probe(const char *path, bool *is_dir, char **ret_error)
{
    struct stat st;
    DIR *d = NULL;
    FILE *f = NULL;

    bool ok = stat(path, &st) == 0;
    *is_dir = ok && S_ISDIR(st.st_mode);
    if (ok && *is_dir)
        ok = (d = opendir(path)) != NULL;
    else if (ok && S_ISREG(st.st_mode))
        ok = (f = fopen(path, "re")) != NULL;
    else if (ok) {
        *ret_error = x_asprintf("%s: neither a directory nor a regular file", path);
        return RC_IO;
    }
    int rc = ok ? 0 : rc_of_errno(errno);
    if (!ok)
        *ret_error = x_asprintf("%s: %s", path, strerror(errno));
    if (d)
        closedir(d);
    if (f)
        fclose(f);
    return rc;
}

int kube_manifests_open(uv_loop_t *loop, const char *path, const struct kube_handler *h, struct kube_source **ret,
                        char **ret_error)
{
    bool is_dir;
    int rc = probe(path, &is_dir, ret_error);
    if (rc)
        return rc;

    struct manifests *m = x_calloc(1, sizeof *m);
    m->source.ops = &manifests_ops;
    m->source.handler = *h;
    m->source.text = x_asprintf("manifests in %s", path);
    m->loop = loop;
    m->path = x_strdup(path);
    m->is_dir = is_dir;
    char *copy = x_strdup(path); /* dirname writes into it */
    m->dir = x_strdup(is_dir ? path : dirname(copy));
    free(copy);
    uv_fs_event_init(loop, &m->watch);
    uv_timer_init(loop, &m->settle);
    uv_timer_init(loop, &m->poll);
    m->watch.data = m->settle.data = m->poll.data = m;
    uv_timer_start(&m->settle, on_settle, 0, 0); /* the first delivery comes from the loop */
    *ret = &m->source;
    return 0;
}

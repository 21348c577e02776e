/* server.c - start and stop: directory, recovery, sockets, threads. */
#include "server/server.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "resolver.h"
#include "server/defaults.h"
#include "server_internal.h"
#include "zab/quorum.h"

enum { NET_THREADS_MAX = 64 };

/* ---- dying ---- */

void server_fatal(struct server *s, const char *text)
{
    atomic_store(&s->dead, true);
    if (s->fatal) {
        s->fatal(s->fatal_data, text);
        return;
    }
    log_error("server", "cannot go on: %s", text);
    _exit(3); /* no destructors: nothing more may reach the disk */
}

void server_on_fatal(struct server *s, void (*fn)(void *data, const char *text), void *data)
{
    s->fatal_data = data;
    s->fatal = fn;
}

/* ---- configuration ---- */

static void config_settle(struct server_config *cfg)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    server_config_settle(cfg);
    if (cfg->net_threads <= 0)
        cfg->net_threads = (int32_t)MAX(1, cores - 1);
    cfg->net_threads = MIN(cfg->net_threads, NET_THREADS_MAX);
}

/* One server alone: the reference has no answer either. */
static int32_t reconfig_alone(void *data, const struct reconfig_request *q, int64_t zxid, struct buf *ret_text)
{
    (void)data, (void)q, (void)zxid, (void)ret_text;
    return ZK_UNIMPLEMENTED;
}

static struct core_config core_of(const struct server_config *cfg)
{
    struct core_config c = server_core_config(cfg);

    c.server_id = 1;
    c.reconfig = cfg->reconfig_enabled ? reconfig_alone : NULL;
    c.seed = (uint64_t)clock_wall_ms() * 0x9E3779B97F4A7C15u ^ (uint64_t)getpid();
    return c;
}

/* ---- disk ---- */

static void recovery_progress(void *data, const char *text)
{
    log_info("server", "recovery: %s", text);
}

static int check_dirs(const struct server_config *cfg, struct storage_error *err)
{
    const char *dirs[] = { cfg->data_dir, cfg->log_dir };
    struct stat st;

    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        if (cfg->dir_autocreate || cfg->vfs || !dirs[i] || (stat(dirs[i], &st) == 0 && S_ISDIR(st.st_mode)))
            continue;
        snprintf(err->text, sizeof(err->text), "%s: no such directory, and datadir.autocreate is false", dirs[i]);
        return RC_NOTFOUND;
    }
    return 0;
}

static int recover(struct server *s, struct storage_error *err)
{
    struct storage_recovered r = { 0 };
    int64_t start = clock_mono_us();

    s->storage.keep_orphans = s->cfg->members; /* an ensemble's trees change by transactions only */
    int rc = storage_recover(&s->storage, recovery_progress, NULL, &r, err);

    if (rc < 0)
        return rc;
    s->tree = r.tree;
    int64_t took = clock_mono_us() - start;
    stats_record(&s->core_stats, SUM_DB_INIT_TIME, (uint64_t)took);
    stats_record(&s->core_stats, SUM_STARTUP_TXNS, r.txns_replayed);
    stats_record(&s->core_stats, SUM_STARTUP_SNAP_TIME, (uint64_t)r.snapshot_us);
    stats_record(&s->core_stats, SUM_STARTUP_TXNS_TIME, (uint64_t)r.replay_us);
    log_info("server", "recovered zxid 0x%llx in %lld ms: snapshot 0x%llx and %llu transactions",
             (unsigned long long)r.last_zxid, (long long)(took / 1000), (unsigned long long)r.snapshot_zxid,
             (unsigned long long)r.txns_replayed);
    atomic_store(&s->applied_zxid, tree_last_zxid(s->tree));
    atomic_store(&s->logger.persisted, tree_last_zxid(s->tree));
    return txnlog_open(&s->storage, &s->logger.log, err);
}

void server_set_tree(struct server *s, struct tree *t)
{
    struct tree *old = s->tree;

    treelock_write_lock(s->lock);
    for (uint32_t i = 0; i < s->net_count; i++) {
        tree_detach_watches(old, s->nets[i].watches);
        tree_attach_watches(t, s->nets[i].watches);
    }
    s->tree = t;
    core_set_tree(s->core, t);
    treelock_write_unlock(s->lock);
    tree_free(old);
    atomic_store(&s->applied_zxid, tree_last_zxid(t));
}

/* ---- life ---- */

static void server_free(struct server *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->listeners.len; i++)
        close(s->listeners.items[i].fd);
    VEC_FREE(&s->listeners);
    free(s->client_address);
    dynconf_keeper_done(&s->keeper);
    free(s->move_to);
    free(s->moving_to);
    resolver_free(s->move_names);
    for (uint32_t i = 0; s->nets && i < s->net_count; i++)
        net_done(&s->nets[i]);
    host_peer_free(s);
    core_free(s->core);
    for (uint32_t i = 0; s->nets && i < s->net_count; i++) {
        if (s->tree)
            tree_detach_watches(s->tree, s->nets[i].watches);
        watch_table_free(s->nets[i].watches);
    }
    free(s->nets);
    if (s->logger.log)
        txnlog_close(s->logger.log);
    if (s->tree)
        tree_free(s->tree);
    waker_done(&s->core_waker);
    inbox_done(&s->inbox);
    treelock_free(s->lock);
    strmap_free(&s->ip_counts, NULL);
    pthread_mutex_destroy(&s->ip_mutex);
    pthread_mutex_destroy(&s->logger.mutex);
    pthread_cond_destroy(&s->logger.cond);
    pthread_cond_destroy(&s->logger.idle);
    server_config_free(&s->own_cfg);
    free(s);
}

static struct server *server_new(const struct server_config *cfg)
{
    struct server *s = x_calloc(1, sizeof(*s));

    server_config_copy(&s->own_cfg, cfg);
    config_settle(&s->own_cfg);
    s->cfg = &s->own_cfg;
    s->storage = server_storage_config(s->cfg);
    if (!s->storage.vfs)
        s->storage.vfs = vfs_posix();
    s->core_waker.fd = -1;
    s->net_count = (uint32_t)s->cfg->net_threads;
    s->lock = treelock_new(s->net_count + 1);
    inbox_init(&s->inbox);
    pthread_mutex_init(&s->ip_mutex, NULL);
    pthread_mutex_init(&s->logger.mutex, NULL);
    pthread_cond_init(&s->logger.cond, NULL);
    pthread_cond_init(&s->logger.idle, NULL);
    snprintf(s->build, sizeof(s->build), "3.9.5-quoll-%s, built on %s", QUOLL_VERSION, QUOLL_BUILD_DATE);
    return s;
}

static int make_threads_ready(struct server *s, struct storage_error *err)
{
    s->nets = x_calloc(s->net_count, sizeof(*s->nets));
    for (uint32_t i = 0; i < s->net_count; i++)
        s->nets[i].epfd = s->nets[i].waker.fd = -1;
    if (waker_init(&s->core_waker) < 0) {
        snprintf(err->text, sizeof(err->text), "eventfd: %s", strerror(errno));
        return RC_IO;
    }
    for (uint32_t i = 0; i < s->net_count; i++) {
        if (net_init(&s->nets[i], s, i) < 0) {
            snprintf(err->text, sizeof(err->text), "epoll: %s", strerror(errno));
            return RC_IO;
        }
        tree_attach_watches(s->tree, s->nets[i].watches);
    }
    return 0;
}

int server_start(const struct server_config *cfg, struct server **ret, struct storage_error *err)
{
    struct server *s;
    int rc = server_config_check(cfg, err);

    if (rc < 0)
        return rc;
    s = server_new(cfg);
    rc = server_config_members(&s->own_cfg, err);
    if (rc == 0)
        rc = check_dirs(s->cfg, err);
    if (rc == 0 && s->cfg->members)
        rc = host_settle_config(s, err);
    if (rc == 0)
        rc = listen_all(s, err); /* before the recovery: a port in use is told at once. Nothing is accepted yet */
    if (rc == 0)
        rc = storage_lock(&s->storage, err);
    if (rc == 0)
        rc = recover(s, err);
    if (rc == 0)
        rc = make_threads_ready(s, err);
    if (rc == 0 && s->cfg->members)
        rc = host_peer_new(s, err);
    if (rc < 0) {
        server_free(s);
        return rc;
    }
    struct core_config core_cfg = core_of(s->cfg);
    s->net_role = s->peer ? CORE_LEARNER : CORE_STANDALONE;
    if (s->peer)
        peer_core_config(s->peer, &core_cfg);
    atomic_store(&s->role, CORE_STANDALONE);
    s->core = core_new(&core_cfg, s->tree, clock_mono_ms(), clock_wall_ms());
    s->started_ms = clock_mono_ms();
    for (size_t i = 0; i < s->listeners.len; i++) /* from here on net thread 0 may move them */
        log_info("server", s->peer ? "clients connect to %s" : "serving clients on %s", s->listeners.items[i].text);
    logger_start(s);
    snapper_start(s);
    ASSERT(pthread_create(&s->core_thread, NULL, core_main, s) == 0);
    for (uint32_t i = 0; i < s->net_count; i++)
        net_start(&s->nets[i]);
    if (!s->peer)
        atomic_store(&s->serving, true);
    *ret = s;
    return 0;
}

void server_stop(struct server *s)
{
    if (!s)
        return;
    atomic_store(&s->serving, false);
    atomic_store(&s->stop, QUIESCING);
    for (uint32_t i = 0; i < s->net_count; i++)
        net_wake(&s->nets[i]);
    pthread_join(s->core_thread, NULL);
    for (uint32_t i = 0; i < s->net_count; i++)
        pthread_join(s->nets[i].thread, NULL);
    logger_stop(s);
    snapper_stop(s);
    log_info("server", "stopped at zxid 0x%llx", (unsigned long long)tree_last_zxid(s->tree));
    server_free(s);
}

int server_port(const struct server *s, size_t listen_index)
{
    return listen_index < s->listeners.len ? s->listeners.items[listen_index].port : -1;
}

bool server_serving(const struct server *s)
{
    return atomic_load(&s->serving);
}

/* ---- looking in from other threads ---- */

static void call_prometheus(struct server *s, void *data)
{
    struct figures *f = x_malloc(sizeof(*f));

    figures_collect(s, f);
    figures_prometheus(f, data);
    peer_prometheus(s, data);
    free(f);
}

void server_metrics_prometheus(struct server *s, struct wr *w)
{
    (void)inbox_call(s, call_prometheus, w); /* a stopping server has no figures */
}

struct word_call {
    int word;
    struct wr *w;
};

static void call_word(struct server *s, void *data)
{
    struct word_call *call = data;

    four_letter_answer(s, call->word, call->w);
}

int server_four_letter(struct server *s, const char *word, struct wr *w)
{
    int index = strlen(word) == 4 ? four_letter_find((const uint8_t *)word) : -1;
    struct word_call call = { index, w };

    if (index < 0)
        return RC_NOTFOUND;
    if (four_letter_local(index))
        four_letter_answer(s, index, w);
    else if (!inbox_call(s, call_word, &call))
        return RC_CLOSED;
    return 0;
}

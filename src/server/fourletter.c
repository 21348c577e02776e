/* fourletter.c - the four-letter words: text for people and monitoring tools, in the reference's exact shapes.
 *
 * Source: org.apache.zookeeper.server.command.* (3.9). Words that look at the tree, the sessions or the connections run on the core
 * thread, which takes the write lock for as long as it looks; nothing is written to a socket under it. */
#include <dirent.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "server_internal.h"

static const char *const names[FOUR_COUNT] = {
#define X(word) [FOUR_##word] = #word,
    FOUR_LETTER_WORDS(X)
#undef X
};

int four_letter_find(const uint8_t word[4])
{
    for (int i = 0; i < FOUR_COUNT; i++)
        if (memcmp(names[i], word, 4) == 0)
            return i;
    return -1;
}

const char *four_letter_name(int word)
{
    return names[word];
}

bool four_letter_allowed(const char *whitelist, int word)
{
    size_t count = 0;
    char **parts = str_split(whitelist ? whitelist : "", ",", &count);
    bool allowed = word == FOUR_srvr;

    for (size_t i = 0; i < count && !allowed; i++)
        allowed = strcmp(parts[i], "*") == 0 || strcmp(parts[i], names[word]) == 0;
    str_split_free(parts);
    return allowed;
}

bool four_letter_local(int word)
{
    return word == FOUR_ruok || word == FOUR_isro || word == FOUR_envi || word == FOUR_dirs;
}

/* ---- figures ---- */

static int64_t count_open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int64_t count = -3; /* ".", ".." and the directory itself */

    if (!d)
        return -1;
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

static void add_response_sizes(const struct server *s, struct figures *f)
{
    int64_t newest_us = 0;

    f->last_client_response_size = f->max_client_response_size = f->min_client_response_size = -1;
    for (uint32_t i = 0; i < s->net_count; i++) {
        const struct net *n = &s->nets[i];
        int64_t at = atomic_load_explicit(&n->last_response_us, RELAXED);
        int64_t min = atomic_load_explicit(&n->min_response_size, RELAXED);

        if (at == 0)
            continue;
        if (at > newest_us) {
            newest_us = at;
            f->last_client_response_size = atomic_load_explicit(&n->last_response_size, RELAXED);
        }
        f->max_client_response_size =
            MAX(f->max_client_response_size, atomic_load_explicit(&n->max_response_size, RELAXED));
        f->min_client_response_size = f->min_client_response_size < 0 ? min : MIN(f->min_client_response_size, min);
    }
}

void figures_collect(struct server *s, struct figures *f)
{
    uint32_t generation = atomic_load(&s->generation);
    struct watch_summary watches = { 0 };
    struct tree_stats tree;
    struct rlimit limit = { 0 };

    *f = (struct figures){ 0 };
    f->open_file_descriptor_count = count_open_fds();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        f->max_file_descriptor_count = (int64_t)limit.rlim_cur;
    for (uint32_t i = 0; i < s->net_count; i++)
        figures_add(f, &s->nets[i].stats, generation);
    figures_add(f, &s->core_stats, generation);
    figures_add(f, &s->logger.stats, generation);
    figures_add(f, &s->snapper.stats, generation);
    add_response_sizes(s, f);
    f->num_alive_connections = atomic_load(&s->connections);
    f->outstanding_requests = atomic_load(&s->outstanding);
    f->uptime = clock_mono_ms() - s->started_ms;
    f->zxid = tree_last_zxid(s->tree); /* ours is the only thread that changes it */
    f->global_sessions = (int64_t)core_live_sessions(s->core);
    f->local_sessions = (int64_t)core_local_sessions(s->core);
    f->digest_mismatches_count = (int64_t)core_digest_mismatches(s->core);
    tree_stats(s->tree, &tree);
    f->znode_count = (int64_t)tree.nodes;
    f->ephemerals_count = (int64_t)tree.ephemerals;
    f->container_count = (int64_t)tree.containers;
    f->ttl_count = (int64_t)tree.ttls;
    f->approximate_data_size = (int64_t)tree.data_bytes;
    treelock_write_lock(s->lock);
    for (uint32_t i = 0; i < s->net_count; i++)
        watch_summary_add(s->nets[i].watches, &watches);
    treelock_write_unlock(s->lock);
    f->watch_count = (int64_t)watches.all;
}

/* ---- connections ---- */

static void each_conn(struct server *s, void (*fn)(void *data, const struct conn *c), void *data)
{
    treelock_write_lock(s->lock);
    for (uint32_t i = 0; i < s->net_count; i++)
        for (size_t k = 0; k < s->nets[i].slots.len; k++)
            if (s->nets[i].slots.items[k])
                fn(data, s->nets[i].slots.items[k]);
    treelock_write_unlock(s->lock);
}

static uint64_t get_u64(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, RELAXED);
}

static void conn_brief(struct wr *w, const struct conn *c)
{
    wr_printf(w, " /%s[%d](queued=%" PRIu32 ",recved=%" PRIu64 ",sent=%" PRIu64, c->peer,
              c->state == CONN_FOUR || atomic_load_explicit(&c->stats.paused, RELAXED) ? 0 : 1,
              atomic_load_explicit(&c->stats.outstanding, RELAXED), get_u64(&c->stats.received),
              get_u64(&c->stats.sent));
}

static void stat_line(void *data, const struct conn *c)
{
    conn_brief(data, c);
    wr_text(data, ")\n");
}

static void cons_line(void *data, const struct conn *c)
{
    struct wr *w = data;
    int64_t session = c->session_id;
    int32_t op = atomic_load_explicit(&c->stats.last_op, RELAXED);
    int32_t xid = atomic_load_explicit(&c->stats.last_xid, RELAXED);
    uint64_t count = get_u64(&c->stats.latency_count);

    conn_brief(w, c);
    if (session != 0) {
        wr_printf(w, ",sid=0x%" PRIx64 ",lop=%s,est=%" PRId64 ",to=%d", (uint64_t)session,
                  op ? zk_op_short_name(op) : "NA", c->established_wall_ms, (int)c->timeout_ms);
        if (xid >= 0)
            wr_printf(w, ",lcxid=0x%" PRIx32, (uint32_t)xid);
        wr_printf(w, ",lzxid=0x%" PRIx64 ",lresp=%" PRId64 ",llat=%" PRIu32 ",minlat=%" PRIu32 ",avglat=%" PRIu64
                     ",maxlat=%" PRIu32,
                  (uint64_t)atomic_load_explicit(&c->stats.last_zxid, RELAXED),
                  atomic_load_explicit(&c->stats.last_response_ms, RELAXED),
                  atomic_load_explicit(&c->stats.last_latency_ms, RELAXED),
                  atomic_load_explicit(&c->stats.min_latency_ms, RELAXED),
                  count ? get_u64(&c->stats.latency_sum_ms) / count : 0,
                  atomic_load_explicit(&c->stats.max_latency_ms, RELAXED));
    }
    wr_text(w, ")\n");
}

static void cons_reset(void *data, const struct conn *cc)
{
    struct conn_stats *st = &((struct conn *)(uintptr_t)cc)->stats; /* only its atomics: an increment under way may be lost */

    (void)data;
    atomic_store_explicit(&st->received, 0, RELAXED);
    atomic_store_explicit(&st->sent, 0, RELAXED);
    atomic_store_explicit(&st->latency_sum_ms, 0, RELAXED);
    atomic_store_explicit(&st->latency_count, 0, RELAXED);
    atomic_store_explicit(&st->last_op, 0, RELAXED);
    atomic_store_explicit(&st->last_xid, -1, RELAXED);
    atomic_store_explicit(&st->last_zxid, 0, RELAXED);
    atomic_store_explicit(&st->last_response_ms, 0, RELAXED);
    atomic_store_explicit(&st->last_latency_ms, 0, RELAXED);
    atomic_store_explicit(&st->min_latency_ms, 0, RELAXED);
    atomic_store_explicit(&st->max_latency_ms, 0, RELAXED);
}

/* ---- the words ---- */

static void word_srvr(struct server *s, struct wr *w, bool with_clients)
{
    struct figures *f = x_malloc(sizeof(*f)); /* large: the quantiles */
    struct latency l;
    struct peer_info info = { .mode = "standalone" };

    if (s->peer)
        peer_info(s->peer, &info);
    figures_collect(s, f);
    l = figures_latency(f);
    wr_printf(w, "Zookeeper version: %s\n", s->build);
    if (atomic_load(&s->role) == CORE_READONLY)
        wr_text(w, "READ-ONLY mode; serving only read-only clients\n");
    if (with_clients) {
        wr_text(w, "Clients:\n");
        each_conn(s, stat_line, w);
        wr_u8(w, '\n');
    }
    wr_printf(w, "Latency min/avg/max: %" PRIu64 "/", l.min_ms);
    wr_decimal(w, l.avg_ms);
    wr_printf(w, "/%" PRIu64 "\nReceived: %" PRIu64 "\nSent: %" PRIu64 "\nConnections: %" PRId64
                 "\nOutstanding: %" PRId64 "\nZxid: 0x%" PRIx64 "\nMode: %s\nNode count: %" PRId64 "\n",
              l.max_ms, f->counter[CTR_PACKETS_RECEIVED], f->counter[CTR_PACKETS_SENT], f->num_alive_connections,
              f->outstanding_requests, (uint64_t)f->zxid, info.mode, f->znode_count);
    if (info.leading)
        wr_printf(w, "Proposal sizes last/min/max: %" PRId64 "/%" PRId64 "/%" PRId64 "\n", info.counts.last_proposal_size,
                  info.counts.min_proposal_size, info.counts.max_proposal_size);
    free(f);
}

static void word_mntr(struct server *s, struct wr *w)
{
    struct figures *f = x_malloc(sizeof(*f));
    struct peer_info info = { .mode = "standalone" };

    if (s->peer)
        peer_info(s->peer, &info);
    figures_collect(s, f);
    wr_printf(w, "zk_version\t%s\nzk_server_state\t%s\n", s->build, info.mode);
    if (s->peer)
        wr_printf(w, "zk_peer_state\t%s\n", info.peer_state);
    figures_mntr(f, w);
    if (s->peer)
        peer_mntr(s->peer, &info, w);
    free(f);
}

static int client_port(const struct server *s)
{
    return s->listeners.len > 0 ? s->listeners.items[0].port : -1;
}

static void word_conf(struct server *s, struct wr *w)
{
    const struct server_config *cfg = s->cfg;
    const char *log_dir = cfg->log_dir ? cfg->log_dir : cfg->data_dir;

    wr_printf(w, "clientPort=%d\nsecureClientPort=-1\ndataDir=%s/version-2\ndataDirSize=%" PRId64
                 "\ndataLogDir=%s/version-2\ndataLogSize=%" PRId64 "\n",
              client_port(s), cfg->data_dir, storage_dir_size(&s->storage, false), log_dir,
              storage_dir_size(&s->storage, true));
    wr_printf(w, "tickTime=%d\nmaxClientCnxns=%d\nminSessionTimeout=%d\nmaxSessionTimeout=%d\n"
                 "clientPortListenBacklog=%d\nserverId=%" PRId64 "\n",
              cfg->tick_ms, cfg->max_client_cnxns, cfg->min_session_ms, cfg->max_session_ms, cfg->backlog, s->my_sid);
    if (!s->peer)
        return;
    struct peer_info info;
    peer_info(s->peer, &info);
    wr_printf(w, "initLimit=%d\nsyncLimit=%d\nelectionAlg=3\nelectionPort=%d\nquorumPort=%d\npeerType=%d\nmembership: \n%s",
              cfg->init_limit, cfg->sync_limit, info.election_port, info.quorum_port, info.observer ? 1 : 0, info.config_text);
}

static void word_envi(struct server *s, struct wr *w)
{
    struct utsname uts;
    char host[256] = "unknown", dir[4096];
    const struct passwd *pw = getpwuid(getuid());
    long page = sysconf(_SC_PAGESIZE);
    long long free_mb = (long long)sysconf(_SC_AVPHYS_PAGES) * page >> 20;
    long long all_mb = (long long)sysconf(_SC_PHYS_PAGES) * page >> 20;

    (void)gethostname(host, sizeof(host) - 1); /* "unknown" stays on failure */
    if (uname(&uts) < 0)
        memset(&uts, 0, sizeof(uts));
    if (!getcwd(dir, sizeof(dir)))
        dir[0] = '\0';
    wr_printf(w, "Environment:\nzookeeper.version=%s\nhost.name=%s\njava.version=none\njava.vendor=none\njava.home=\n"
                 "java.class.path=\njava.library.path=\njava.io.tmpdir=/tmp\njava.compiler=\nos.name=%s\nos.arch=%s\n"
                 "os.version=%s\nuser.name=%s\nuser.home=%s\nuser.dir=%s\nos.memory.free=%lldMB\nos.memory.max=%lldMB\n"
                 "os.memory.total=%lldMB\n",
              s->build, host, uts.sysname, uts.machine, uts.release, pw ? pw->pw_name : "", pw ? pw->pw_dir : "", dir,
              free_mb, all_mb, all_mb);
}

/* A point of monotonic time as java.util.Date shows it. */
static void put_date(struct wr *w, int64_t mono_ms)
{
    time_t t = (time_t)((clock_wall_ms() + mono_ms - clock_mono_ms()) / 1000);
    struct tm tm;
    char text[64];

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%a %b %d %H:%M:%S UTC %Y", &tm);
    wr_text(w, text);
}

struct expiry {
    int64_t at_ms;
    int64_t session_id;
    char peer[ADDR_TEXT_MAX];
};
struct expiries {
    struct VEC(struct expiry) list;
    int64_t interval_ms;
};

static void dump_add_session(void *data, int64_t at_ms, int64_t session_id)
{
    struct expiries *x = data;
    struct expiry e = { .at_ms = at_ms, .session_id = session_id };

    VEC_PUSH(&x->list, e);
}

/* The reference keeps connections in buckets of idle time; so do we, when asked. */
static void dump_add_conn(void *data, const struct conn *c)
{
    struct expiries *x = data;
    int64_t last = atomic_load_explicit(&c->stats.last_active_ms, RELAXED);
    struct expiry e = { .at_ms = ((last + (c->timeout_ms ? c->timeout_ms : x->interval_ms)) / x->interval_ms + 1) * x->interval_ms,
                        .session_id = c->session_id };

    memcpy(e.peer, c->peer, sizeof(e.peer));
    VEC_PUSH(&x->list, e);
}

static int by_expiry(const void *a, const void *b)
{
    const struct expiry *x = a, *y = b;

    return x->at_ms < y->at_ms ? -1 : x->at_ms > y->at_ms;
}

static void dump_expiries(struct wr *w, struct expiries *x, const char *title, bool conns)
{
    size_t buckets = 0, n = x->list.len;
    struct expiry *e = x->list.items;

    if (n > 0)
        qsort(e, n, sizeof(*e), by_expiry);
    for (size_t i = 0; i < n; i++)
        buckets += i == 0 || e[i].at_ms != e[i - 1].at_ms;
    wr_printf(w, "%s Sets (%zu)/(%zu):\n", title, buckets, n);
    for (size_t i = 0; i < n;) {
        size_t end = i;

        while (end < n && e[end].at_ms == e[i].at_ms)
            end++;
        wr_printf(w, "%zu expire at ", end - i);
        put_date(w, e[i].at_ms);
        wr_text(w, ":\n");
        for (; i < end; i++) {
            if (conns)
                wr_printf(w, "\tip: /%s sessionId: 0x%" PRIx64 "\n", e[i].peer, (uint64_t)e[i].session_id);
            else
                wr_printf(w, "\t0x%" PRIx64 "\n", (uint64_t)e[i].session_id);
        }
    }
    VEC_FREE(&x->list);
    x->list.len = x->list.cap = 0;
}

struct dump_ephemerals {
    struct server *s;
    struct wr *w;
    size_t owners;
    struct arena arena;
};

static void dump_count_owner(void *data, int64_t session, size_t count)
{
    ((struct dump_ephemerals *)data)->owners++;
}

static void dump_path(void *data, const struct znode *n)
{
    struct dump_ephemerals *d = data;
    struct jstr path = znode_path(n, &d->arena);

    wr_printf(d->w, "\t%.*s\n", (int)path.n, path.p);
    arena_reset(&d->arena);
}

static void dump_owner(void *data, int64_t session, size_t count)
{
    struct dump_ephemerals *d = data;

    wr_printf(d->w, "0x%" PRIx64 ":\n", (uint64_t)session);
    tree_each_ephemeral(d->s->tree, session, dump_path, d);
}

struct known_sessions {
    struct VEC(struct known_session { int64_t id; int32_t timeout_ms; }) list;
};

static void dump_know(void *data, int64_t id, int32_t timeout_ms)
{
    struct known_sessions *k = data;
    struct known_session e = { id, timeout_ms };

    VEC_PUSH(&k->list, e);
}

static int by_id(const void *a, const void *b)
{
    const struct known_session *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* A learner does not know when they expire. */
static void dump_known(struct server *s, struct wr *w)
{
    struct known_sessions k = { 0 };

    tree_each_session(s->tree, dump_know, &k);
    if (k.list.len > 0)
        qsort(k.list.items, k.list.len, sizeof(*k.list.items), by_id);
    wr_printf(w, "Global Sessions(%zu):\n", k.list.len);
    for (size_t i = 0; i < k.list.len; i++)
        wr_printf(w, "0x%" PRIx64 "\t%dms\n", (uint64_t)k.list.items[i].id, k.list.items[i].timeout_ms);
    VEC_FREE(&k.list);
}

/* In the shapes of the reference's four trackers. */
static void dump_sessions(struct server *s, struct wr *w)
{
    struct expiries x = { 0 };
    enum core_role role = core_role(s->core);
    bool local = role == CORE_READONLY || (s->peer && s->cfg->local_sessions);

    if (local) {
        core_each_expiry(s->core, true, dump_add_session, &x);
        dump_expiries(w, &x, "Local Session", false);
    }
    if (role == CORE_STANDALONE || role == CORE_LEADER) {
        core_each_expiry(s->core, false, dump_add_session, &x);
        dump_expiries(w, &x, local ? "Global Session" : "Session", false);
    } else {
        dump_known(s, w);
    }
}

static void word_dump(struct server *s, struct wr *w)
{
    struct expiries x = { .interval_ms = s->cfg->sessionless_timeout_ms };
    struct dump_ephemerals d = { .s = s, .w = w };

    wr_text(w, "SessionTracker dump:\n");
    dump_sessions(s, w);
    wr_text(w, "ephemeral nodes dump:\n");
    tree_each_ephemeral_owner(s->tree, dump_count_owner, &d);
    wr_printf(w, "Sessions with Ephemerals (%zu):\n", d.owners);
    tree_each_ephemeral_owner(s->tree, dump_owner, &d);
    wr_text(w, "Connections dump:\n");
    each_conn(s, dump_add_conn, &x);
    dump_expiries(w, &x, "Connections", true);
    arena_free(&d.arena);
}

/* ---- watches ---- */

static void word_wchs(struct server *s, struct wr *w)
{
    struct watch_summary sum = { 0 };

    treelock_write_lock(s->lock);
    for (uint32_t i = 0; i < s->net_count; i++)
        watch_summary_add(s->nets[i].watches, &sum);
    treelock_write_unlock(s->lock);
    wr_printf(w, "%" PRIu64 " connections watching %" PRIu64 " paths\nTotal watches:%" PRIu64 "\n", sum.connections,
              sum.paths, sum.total);
}

/* A watch to be grouped: group is a session or a path, member the other. */
struct watch_pair {
    char *group, *member;
};
struct watch_pairs {
    struct VEC(struct watch_pair) list;
    bool by_path;
};

static void collect_pair(void *data, const struct watcher *wt, struct jstr path)
{
    struct watch_pairs *x = data;
    const struct conn *c = CONTAINER_OF(wt, const struct conn, watcher);
    char *session = x_asprintf("0x%" PRIx64, (uint64_t)c->session_id);
    char *text = x_strndup(path.p, (size_t)path.n);
    struct watch_pair p = x->by_path ? (struct watch_pair){ text, session } : (struct watch_pair){ session, text };

    VEC_PUSH(&x->list, p);
}

static int by_group(const void *a, const void *b)
{
    const struct watch_pair *x = a, *y = b;
    int order = strcmp(x->group, y->group);

    return order ? order : strcmp(x->member, y->member);
}

static void word_watches(struct server *s, struct wr *w, bool by_path)
{
    struct watch_pairs x = { .by_path = by_path };

    treelock_write_lock(s->lock);
    for (uint32_t i = 0; i < s->net_count; i++)
        watch_each(s->nets[i].watches, collect_pair, &x);
    treelock_write_unlock(s->lock);
    if (x.list.len > 0)
        qsort(x.list.items, x.list.len, sizeof(*x.list.items), by_group);
    for (size_t i = 0; i < x.list.len; i++) {
        if (i == 0 || strcmp(x.list.items[i].group, x.list.items[i - 1].group) != 0)
            wr_printf(w, "%s\n", x.list.items[i].group);
        wr_printf(w, "\t%s\n", x.list.items[i].member);
    }
    wr_u8(w, '\n');
    for (size_t i = 0; i < x.list.len; i++) {
        free(x.list.items[i].group);
        free(x.list.items[i].member);
    }
    VEC_FREE(&x.list);
}

static void stats_reset(struct server *s)
{
    atomic_fetch_add(&s->generation, 1);
    for (uint32_t i = 0; i < s->net_count; i++) { /* its owner may just be writing one: then that one survives */
        atomic_store_explicit(&s->nets[i].last_response_us, 0, RELAXED);
        atomic_store_explicit(&s->nets[i].min_response_size, 0, RELAXED);
        atomic_store_explicit(&s->nets[i].max_response_size, 0, RELAXED);
    }
}

/* What clients poll before they come: a leader that refuses them is none for them. */
static const char *isro(struct server *s)
{
    int role = atomic_load(&s->role);

    if ((s->peer && !atomic_load(&s->serving)) || (role == CORE_LEADER && !s->cfg->leader_serves))
        return "null";
    return role == CORE_READONLY ? "ro" : "rw";
}

void four_letter_answer(struct server *s, int word, struct wr *w)
{
    bool always = word == FOUR_ruok || word == FOUR_envi || word == FOUR_isro;

    if (s->peer && !always && !atomic_load(&s->serving)) {
        wr_text(w, "This ZooKeeper instance is not currently serving requests\n");
        return;
    }
    switch ((enum four_letter)word) {
    case FOUR_ruok:
        wr_text(w, "imok");
        break;
    case FOUR_isro:
        wr_text(w, isro(s));
        break;
    case FOUR_envi:
        word_envi(s, w);
        break;
    case FOUR_conf:
        word_conf(s, w);
        break;
    case FOUR_dirs:
        wr_printf(w, "datadir_size: %" PRId64 "\nlogdir_size: %" PRId64 "\n", storage_dir_size(&s->storage, false),
                  storage_dir_size(&s->storage, true));
        break;
    case FOUR_srvr:
    case FOUR_stat:
        word_srvr(s, w, word == FOUR_stat);
        break;
    case FOUR_mntr:
        word_mntr(s, w);
        break;
    case FOUR_cons:
        each_conn(s, cons_line, w);
        wr_u8(w, '\n');
        break;
    case FOUR_crst:
        each_conn(s, cons_reset, NULL);
        wr_text(w, "Connection stats reset.\n");
        break;
    case FOUR_srst:
        stats_reset(s);
        wr_text(w, "Server stats reset.\n");
        break;
    case FOUR_dump:
        word_dump(s, w);
        break;
    case FOUR_wchs:
        word_wchs(s, w);
        break;
    case FOUR_wchc:
    case FOUR_wchp:
        word_watches(s, w, word == FOUR_wchp);
        break;
    case FOUR_COUNT:
        break;
    }
}

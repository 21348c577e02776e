/* reconf.c - see reconf.h. */
#include "reconf.h"

#include <stdio.h>

#include "base/str.h"

/* One that a leader has proposed; the first of all: version 0, from the files. */
struct change {
    int64_t version;
    struct quorum_config *config;
    bool committed;
};
struct reconf {
    struct VEC(struct change) changes; /* ascending */
};

static unsigned long long u(int64_t v)
{
    return (unsigned long long)v;
}

/* The last committed one below zxid. */
static const struct change *change_before(const struct cluster *cl, int64_t zxid)
{
    const struct change *found = &cl->reconf->changes.items[0];

    for (size_t i = 1; i < cl->reconf->changes.len; i++)
        if (cl->reconf->changes.items[i].committed && cl->reconf->changes.items[i].version < zxid)
            found = &cl->reconf->changes.items[i];
    return found;
}

static struct change *change_at(const struct cluster *cl, int64_t zxid)
{
    for (size_t i = 1; i < cl->reconf->changes.len; i++)
        if (cl->reconf->changes.items[i].version == zxid)
            return &cl->reconf->changes.items[i];
    return NULL;
}

static const struct change *change_last(const struct cluster *cl)
{
    return change_before(cl, INT64_MAX);
}

bool reconf_has_quorum(const struct cluster *cl, int64_t zxid, const struct sid_set *set)
{
    const struct change *own = change_at(cl, zxid);

    return quorum_config_has_quorum(change_before(cl, zxid)->config, set) && (!own || quorum_config_has_quorum(own->config, set));
}

bool reconf_is_voter(const struct cluster *cl, int64_t sid)
{
    return quorum_config_is_voter(change_last(cl)->config, sid);
}

void reconf_begin(struct cluster *cl)
{
    cl->reconf = x_calloc(1, sizeof(*cl->reconf));
    VEC_PUSH(&cl->reconf->changes, ((struct change){ 0, quorum_config_ref(cl->config), true }));
}

void reconf_done(struct cluster *cl)
{
    for (size_t i = 0; i < cl->reconf->changes.len; i++)
        quorum_config_unref(cl->reconf->changes.items[i].config);
    VEC_FREE(&cl->reconf->changes);
    free(cl->reconf);
}

/* ---- files ---- */

static bool changes_wanted(const struct node *n)
{
    return n->cl->opt->reconfig;
}

/* What an operator writes: the last committed list, as he has it from a member's directory; with the server in it as an observer if it is not, since
 * it could not start otherwise. That one is no version of anything. */
static void write_files(struct node *n)
{
    const struct change *last = change_last(n->cl);
    struct wr w = wr_init(0);
    char *dynamic = x_asprintf("%s.dynamic.%llx", n->cfg.path, u(last->version));

    if (quorum_config_member(last->config, n->sid) && last->version != 0) {
        dynconf_text(&w, last->config, false);
        vdisk_put(n->disk, dynamic, buf_of(w.p, w.n));
        wr_reset(&w);
        wr_printf(&w, "dataDir=%s\ndynamicConfigFile=%s\n", n->dir, dynamic);
    } else {
        wr_printf(&w, "dataDir=%s\n", n->dir);
        dynconf_text(&w, last->config, false);
        wr_text(&w, "\n");
        if (!quorum_config_member(last->config, n->sid))
            wr_printf(&w, "server.%lld=10.0.0.%lld:2888:3888:observer;0.0.0.0:2181\n", (long long)n->sid, (long long)n->sid);
    }
    vdisk_put(n->disk, n->cfg.path, buf_of(w.p, w.n));
    n->kept_version = 0;
    n->rewritten = true;
    wr_free(&w);
    free(dynamic);
}

void reconf_node_begin(struct node *n)
{
    n->cfg.reconfig_enabled = changes_wanted(n);
    n->cfg.path = x_asprintf("%s/zoo.cfg", n->dir);
    if (changes_wanted(n))
        write_files(n);
}

static void forget_configs(struct node *n)
{
    quorum_config_unref(n->cfg.members);
    quorum_config_unref(n->cfg.members_next);
    n->cfg.members = n->cfg.members_next = NULL;
}

void reconf_node_done(struct node *n)
{
    dynconf_keeper_done(&n->keeper);
    forget_configs(n);
    quorum_config_unref(n->held);
    free(n->cfg.path);
    n->cfg.path = NULL;
    n->held = NULL;
}

void reconf_wiped(struct node *n)
{
    if (changes_wanted(n))
        write_files(n);
    quorum_config_unref(n->held);
    n->held = NULL;
}

/* As config.c reads it, but for what no simulated file holds. */
static int read_static(struct node *n, const struct quorum_options *opt, struct storage_error *err)
{
    struct buf text = vdisk_get(n->disk, n->cfg.path);
    char *copy = x_strndup(text.p ? (const char *)text.p : "", text.n), **lines = str_split(copy, "\n", NULL);
    struct quorum_builder *b = quorum_builder_new(opt);
    struct quorum_error why = { "" };
    char *dynamic = NULL;
    int rc = 0;

    for (char **line = lines; *line && rc == 0; line++) {
        char *eq = strchr(*line, '=');
        if (!eq)
            continue;
        *eq = '\0';
        if (strcmp(*line, "dynamicConfigFile") == 0)
            dynamic = eq + 1;
        else if (quorum_key_known(*line))
            rc = quorum_builder_set(b, *line, eq + 1, &why);
    }
    if (rc == 0 && dynamic)
        rc = dynconf_read(n->storage.vfs, dynamic, opt, &n->cfg.members, err);
    else if (rc == 0 && (rc = quorum_builder_build(b, &n->cfg.members, &why)) < 0)
        (void)snprintf(err->text, sizeof(err->text), "%s: %s", n->cfg.path, why.text);
    quorum_builder_free(b);
    str_split_free(lines);
    free(copy);
    return rc;
}

static int load(struct node *n, struct storage_error *err)
{
    struct quorum_options opt = { n->cfg.multi_address, n->cfg.standalone_enabled };

    forget_configs(n);
    int rc = read_static(n, &opt, err);
    return rc < 0 ? rc : dynconf_read_next(n->storage.vfs, n->cfg.path, &opt, n->cfg.members, &n->cfg.members_next, err);
}

static bool is_listed(const struct node *n)
{
    return quorum_config_member(n->cfg.members, n->sid) || (n->cfg.members_next && quorum_config_member(n->cfg.members_next, n->sid));
}

int reconf_load(struct node *n, struct storage_error *err)
{
    dynconf_keeper_done(&n->keeper);
    n->keeper = (struct dynconf_keeper){ .vfs = n->storage.vfs, .cfg_path = n->cfg.path, .my_sid = n->sid };
    if (!changes_wanted(n)) {
        forget_configs(n);
        n->cfg.members = quorum_config_ref(n->cl->config);
        return 0;
    }
    int rc = load(n, err);
    if (rc < 0 || is_listed(n))
        return rc;
    world_line(n->w, SIM_LINE_LIFE, n->sid, 0, "is in no list that it has: the operator writes it a new one");
    write_files(n);
    dynconf_drop_next(n->storage.vfs, n->cfg.path);
    quorum_config_unref(n->held);
    n->held = NULL; /* it begins anew */
    return load(n, err);
}

static void host_config_seen(void *data, struct quorum_config *c)
{
    struct node *n = data;

    dynconf_seen(&n->keeper, c);
    world_line(n->w, SIM_LINE_ROLE, n->sid, 0, c ? "counts with the proposed configuration 0x%llx" : "counts with no proposed configuration%.0llu",
               c ? u(c->version) : 0);
    if (c && rng_chance(&n->rng, 300))
        nemesis_lurks(n, AMBUSH_SYNC); /* what waits for a server that is at its weakest strikes here, too */
}

static void host_config_active(void *data, struct quorum_config *c)
{
    struct node *n = data;

    dynconf_active(&n->keeper, c);
    if (!n->keeper.unkept && !n->dying) {
        n->kept_before = n->kept_at_us > n->w->now_us ? n->kept_before : n->kept_version;
        n->kept_version = c->version;
        n->kept_at_us = node_time(n);
    }
    world_line(n->w, SIM_LINE_ROLE, n->sid, 0, "goes by the configuration 0x%llx", u(c->version));
}

void reconf_host(struct node *n, struct peer_host *host)
{
    if (!changes_wanted(n))
        return;
    host->config_seen = host_config_seen;
    host->config_active = host_config_active;
}

bool reconf_is_observer(const struct node *n)
{
    const struct quorum_member *me = quorum_config_member(n->held ? n->held : n->cl->config, n->sid);

    return me && me->role == MEMBER_OBSERVER;
}

/* ---- what was proposed and committed ---- */

void reconf_proposed(struct node *n, int64_t zxid, struct buf txn)
{
    struct cluster *cl = n->cl;
    struct quorum_options opt = { n->cfg.multi_address, n->cfg.standalone_enabled };
    struct zab_txn *t = zab_txn_new(zxid, txn);
    struct quorum_config *c = NULL;
    struct quorum_error err;

    if (zab_txn_type(t) != ZK_OP_RECONFIG || change_at(cl, zxid)) {
        zab_txn_unref(t);
        return;
    }
    if (quorum_config_parse(zab_txn_config(t), &opt, &c, &err) < 0 || c->version != zxid) {
        world_finding(cl->w, "config.agreement", n->sid, "0x%llx proposes what is no configuration of that version", u(zxid));
    } else {
        size_t i = cl->reconf->changes.len;

        VEC_PUSH(&cl->reconf->changes, ((struct change){ zxid, quorum_config_ref(c), false }));
        for (; i > 0 && cl->reconf->changes.items[i - 1].version > zxid; i--) {
            struct change late = cl->reconf->changes.items[i];
            cl->reconf->changes.items[i] = cl->reconf->changes.items[i - 1];
            cl->reconf->changes.items[i - 1] = late;
        }
        world_line(cl->w, SIM_LINE_CLIENT, n->sid, 0, "configuration 0x%llx: %zu voters, %zu observers", u(zxid), c->voters.len, c->observers.len);
    }
    quorum_config_unref(c);
    zab_txn_unref(t);
}

void reconf_committed(struct cluster *cl, int64_t zxid)
{
    struct change *c = change_at(cl, zxid);

    if (!c || c->committed)
        return;
    c->committed = true;
    cl->config_changes++;
    world_line(cl->w, SIM_LINE_CLIENT, 0, 0, "configuration 0x%llx is committed", u(zxid));
}

/* ---- what servers hold ---- */

void reconf_crashed(struct node *n, int64_t at_us)
{
    if (n->kept_at_us > at_us)
        n->kept_version = n->kept_before;
    n->kept_at_us = 0;
}

static int64_t newest_held(const struct node *n)
{
    struct quorum_view v = vquorum_view(n->net);

    return v.last_seen ? MAX(v.committed->version, v.last_seen->version) : v.committed->version;
}

/* Of its log: what it was told to log, and found again. */
static int64_t newest_logged(const struct node *n)
{
    for (size_t i = n->cl->reconf->changes.len; i-- > 1;)
        for (size_t k = n->shadow.log.len; k-- > 0;)
            if (n->shadow.log.items[k].zxid == n->cl->reconf->changes.items[i].version)
                return n->shadow.log.items[k].zxid;
    return 0;
}

static void note_held(struct node *n)
{
    struct quorum_view v = vquorum_view(n->net);
    struct quorum_config *c = (struct quorum_config *)(uintptr_t)v.committed;
    const struct change *known;

    if (n->held && n->held->version > c->version && n->held->version <= n->kept_version)
        world_finding(n->w, "config.monotonic", n->sid, "goes by the configuration 0x%llx, after 0x%llx", u(c->version), u(n->held->version));
    if (n->held == c)
        return;
    quorum_config_ref(c);
    quorum_config_unref(n->held);
    n->held = c;
    n->observer = reconf_is_observer(n);
    if (zxid_counter(c->version) == 0)
        return; /* from a file, or the first version of that */
    known = change_at(n->cl, c->version);
    if (!known || !buf_eq(known->config->text, c->text))
        world_finding(n->w, "config.agreement", n->sid, "goes by a configuration 0x%llx that nobody proposed", u(c->version));
    else if (!known->committed && !inv_on_quorums(n, c->version)) /* a leader may end between its file and the delivery that would be seen */
        world_finding(n->w, "config.agreement", n->sid, "goes by the configuration 0x%llx, which is not committed", u(c->version));
}

void reconf_booted(struct node *n)
{
    bool rewritten = n->rewritten;

    n->rewritten = false;
    if (!changes_wanted(n) || rewritten)
        return;
    int64_t logged = newest_logged(n);
    if (newest_held(n) < logged)
        world_finding(n->w, "config.joint", n->sid, "starts with the configuration 0x%llx, when its log holds 0x%llx", u(newest_held(n)), u(logged));
    if (vquorum_view(n->net).committed->version < n->kept_version)
        world_finding(n->w, "config.monotonic", n->sid, "starts with the configuration 0x%llx, when its files were made to keep 0x%llx",
                      u(vquorum_view(n->net).committed->version), u(n->kept_version));
}

static struct buf shown(const struct node *n)
{
    const struct znode *z = tree_find(n->tree, jstr_of("/zookeeper/config"));
    struct jbuf b = z ? znode_data(z) : (struct jbuf){ NULL, -1 };

    return buf_of(b.p, (size_t)MAX(b.n, 0));
}

static void check_shown(struct node *n)
{
    const struct change *due = change_before(n->cl, tree_last_zxid(n->tree) + 1);
    struct buf want = due->version != 0 ? due->config->text : n->held->text;

    if (!buf_eq(shown(n), want))
        world_finding(n->w, "config.shown", n->sid, "at 0x%llx /zookeeper/config is not the configuration 0x%llx:\n%.*s\ninstead of\n%.*s",
                      u(tree_last_zxid(n->tree)), u(due->version), (int)shown(n).n, (const char *)shown(n).p, (int)want.n, (const char *)want.p);
    else if (due->version != 0 && n->held->version != due->version)
        world_finding(n->w, "config.shown", n->sid, "at 0x%llx goes by the configuration 0x%llx instead of 0x%llx", u(tree_last_zxid(n->tree)),
                      u(n->held->version), u(due->version));
    else if (due->version == 0 && !quorum_config_same_members(n->held, due->config))
        world_finding(n->w, "config.shown", n->sid, "goes by other members than there ever were");
}

void reconf_turn(struct node *n)
{
    if (!changes_wanted(n))
        return;
    note_held(n);
    if (n->serving)
        check_shown(n);
}

void reconf_leads(struct node *n, int64_t epoch)
{
    struct cluster *cl = n->cl;
    struct sid_set set = { 0 };

    if (!changes_wanted(n))
        return;
    (void)sid_set_add(&set, n->sid);
    for (uint32_t i = 0; (int64_t)cl->ackers.len > epoch && i < cl->count; i++)
        if (sid_set_has(&cl->ackers.items[epoch], cl->nodes[i].sid))
            (void)sid_set_add(&set, cl->nodes[i].sid);
    if (!quorum_view_has_quorum(vquorum_view(n->net), &set))
        world_finding(n->w, "config.leader-quorum", n->sid, "begins to lead epoch %lld without quorums of the configurations that it holds",
                      (long long)epoch);
    if (zxid_epoch(inv_last_committed(cl)) < epoch && !reconf_has_quorum(cl, INT64_MAX, &set)) /* else it is late, and may not know the last one */
        world_finding(n->w, "config.leader-quorum", n->sid, "begins to lead epoch %lld without a quorum of the last committed configuration, 0x%llx",
                      (long long)epoch, u(change_last(cl)->version));
    sid_set_free(&set);
}

bool reconf_needs(const struct cluster *cl, const struct node *n)
{
    struct sid_set others = { 0 };
    bool needed;

    for (uint32_t i = 0; i < cl->count; i++)
        if (&cl->nodes[i] != n)
            (void)sid_set_add(&others, cl->nodes[i].sid);
    needed = !reconf_has_quorum(cl, INT64_MAX, &others);
    for (uint32_t i = 0; i < cl->count && !needed; i++)
        needed = cl->nodes[i].state == NODE_RUNNING && !quorum_view_has_quorum(vquorum_view(cl->nodes[i].net), &others);
    sid_set_free(&others);
    return needed;
}

/* ---- peace ---- */

bool reconf_may_lose(const struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count && cl->opt->reconfig; i++)
        if (cl->nodes[i].state == NODE_RUNNING && vquorum_view(cl->nodes[i].net).last_seen)
            return false;
    return true;
}

bool reconf_quiet(const struct cluster *cl)
{
    return !cl->opt->reconfig || (reconf_may_lose(cl) && load_config_settled(cl));
}

void reconf_final(struct cluster *cl)
{
    const struct change *last = change_last(cl);

    for (uint32_t i = 0; i < cl->count && cl->opt->reconfig; i++) {
        struct node *n = &cl->nodes[i];
        if (n->state != NODE_RUNNING || !n->serving)
            continue;
        struct quorum_view v = vquorum_view(n->net);
        if (v.last_seen)
            world_finding(cl->w, "config.converged", n->sid, "holds the proposed configuration 0x%llx in the end", u(v.last_seen->version));
        if (last->version != 0 && v.committed->version != last->version)
            world_finding(cl->w, "config.converged", n->sid, "goes by the configuration 0x%llx in the end instead of 0x%llx", u(v.committed->version),
                          u(last->version));
        if (n->serving)
            check_shown(n);
    }
}

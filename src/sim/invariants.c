/* invariants.c - what must hold after every event, whatever the faults. Each is named after the property of the Zab paper (Junqueira, Reed, Serafini,
 * DSN 2011, section "Properties" and appendix) or of Apache's TLA+ specifications (zookeeper-specifications) that it states.
 *
 * How they are kept cheap: everything is a hook where something happens, and looks at that alone. What a server's history is, is known from what it
 * was told to log and when that was durable (struct shadow), never by asking the server.
 *
 *   zab.leadership          no two servers lead one epoch (TLA+: Leadership1, Leadership2)
 *   zab.integrity           what is delivered was proposed by a leader, as it is (paper: Integrity; TLA+: Integrity)
 *   zab.agreement           all servers deliver the same transactions in the same order, none left out (paper: Agreement, Total order;
 *                           TLA+: Agreement, TotalOrder, PrefixConsistency of committed logs)
 *   zab.primary-order       proposals of one epoch have consecutive zxids (paper: Local primary order; the global one is zab.agreement's, which lets nothing be
 *                           committed below what is). A leader may learn late that it began: stopped while a quorum acknowledged NEWLEADER, it wakes
 *                           when others lead, finds the acknowledgements in its sockets, and then that nobody follows it
 *   zab.primary-integrity   a leader that begins to serve has delivered all that was committed in epochs before its own (paper: Primary integrity; TLA+:
 *                           PrimaryIntegrity, LeaderLogCompleteness)
 *   zab.commit-quorum       what is committed is on the disks of a quorum
 *   zab.durability          what was committed stays on a quorum's disks, whatever is truncated or crashes
 *   zab.monotonic-read      the last transaction that a server shows never goes back while it serves (TLA+: MonotonicRead, ProcessConsistency)
 *   disk.ack-durable        ACK(z) leaves only when z and all before it are on disk (ZOOKEEPER-3911, -4646)
 *   disk.newleader-durable  ACK(NEWLEADER) leaves only when the history and then currentEpoch are on disk (ZOOKEEPER-4643, -4646)
 *   disk.crash-keeps        had the power failed at an ACK(NEWLEADER), recovery would find all that it acknowledges, and nothing that was withdrawn
 *   disk.epoch-order        acceptedEpoch >= currentEpoch >= epoch of the last transaction; neither goes back
 *   disk.recovery           recovery finds all that was durable and nothing that was never logged
 *   tree.digest             equal zxid, equal digest on every server; and as the transaction says (digest in the log)
 *   server.fatal            no server ends because its history contradicts the leader's (node.c) */
#include "cluster.h"

#include <stdio.h>

#include "reconf.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "zxids.h"

static uint64_t hash_of(struct buf b)
{
    return XXH3_64bits(b.p, b.n);
}

static unsigned long long u(int64_t v)
{
    return (unsigned long long)v;
}

/* ---- what was committed ---- */

int64_t inv_last_committed(const struct cluster *cl)
{
    return cl->commits.len > 0 ? cl->commits.items[cl->commits.len - 1].zxid : 0;
}

static struct commit *commit_find(struct cluster *cl, int64_t zxid)
{
    return ZXID_FIND(&cl->commits, zxid);
}

/* The first committed transaction above zxid; NULL: none. */
static struct commit *commit_after(struct cluster *cl, int64_t zxid)
{
    size_t i = zxid_upto(cl->commits.items, cl->commits.len, sizeof(*cl->commits.items), zxid);

    return i < cl->commits.len ? &cl->commits.items[i] : NULL;
}

/* ---- what was proposed ---- */

/* Several leaders may have proposed different transactions as the same zxid only if they shared an epoch: that is what is looked for. */
static struct proposal *proposal_find(struct cluster *cl, int64_t zxid)
{
    return ZXID_FIND(&cl->proposals, zxid);
}

static void proposal_add(struct node *n, int64_t zxid, struct buf txn)
{
    struct cluster *cl = n->cl;
    struct proposal p = { zxid, hash_of(txn), x_memdup(txn.p, txn.n), txn.n, cl->w->now_us };
    size_t i = cl->proposals.len;

    VEC_PUSH(&cl->proposals, p);
    for (; i > 0 && cl->proposals.items[i - 1].zxid > zxid; i--)
        cl->proposals.items[i] = cl->proposals.items[i - 1];
    cl->proposals.items[i] = p;
}

/* ---- the shadow of a server's log ---- */

static int64_t shadow_last(const struct shadow *s)
{
    return s->log.len > 0 ? s->log.items[s->log.len - 1].zxid : s->base_zxid;
}

static struct shadow_entry *shadow_find(struct shadow *s, int64_t zxid)
{
    return ZXID_FIND(&s->log, zxid);
}

/* The last zxid up to which all is durable at at_us. */
static int64_t shadow_durable(const struct shadow *s, int64_t at_us)
{
    int64_t last = s->base_us <= at_us ? s->base_zxid : 0;

    for (size_t i = s->log.len; i-- > 0;)
        if (s->log.items[i].durable_us <= at_us)
            return s->log.items[i].zxid; /* the log is synced in order */
    return last;
}

static bool shadow_has(struct shadow *s, int64_t zxid, uint64_t hash, int64_t at_us)
{
    const struct shadow_entry *e = shadow_find(s, zxid);

    return e ? e->hash == hash && e->durable_us <= at_us : zxid <= s->base_zxid && s->base_us <= at_us;
}

/* changes: of which transaction the configurations count; INT64_MAX: those of now. */
static bool on_quorum(struct cluster *cl, int64_t changes, int64_t zxid, uint64_t hash, int64_t at_us)
{
    struct sid_set set = { 0 };

    for (uint32_t i = 0; i < cl->count; i++)
        if (shadow_has(&cl->nodes[i].shadow, zxid, hash, at_us))
            (void)sid_set_add(&set, cl->nodes[i].sid);
    bool has = reconf_has_quorum(cl, changes, &set);
    sid_set_free(&set);
    return has;
}

void inv_appended(struct node *n, int64_t zxid, struct buf txn)
{
    struct shadow *s = &n->shadow;
    uint64_t hash = hash_of(txn);
    struct proposal *p = proposal_find(n->cl, zxid);

    if (zxid == 0)
        return;
    if (zxid_epoch(zxid) == n->led_epoch) {
        if (p && p->hash != hash)
            world_finding(n->w, "zab.integrity", n->sid, "0x%llx is proposed twice, as two different transactions", u(zxid));
        if (zxid_epoch(shadow_last(s)) == n->led_epoch && zxid != shadow_last(s) + 1)
            world_finding(n->w, "zab.primary-order", n->sid, "0x%llx is proposed behind 0x%llx", u(zxid), u(shadow_last(s)));
        if (!p) {
            proposal_add(n, zxid, txn);
            reconf_proposed(n, zxid, txn);
        }
    } else if (!p || p->hash != hash) {
        world_finding(n->w, "zab.integrity", n->sid, "0x%llx is logged, which no leader proposed%s", u(zxid), p ? " like that" : "");
    }
    if (zxid <= shadow_last(s))
        world_finding(n->w, "zab.primary-order", n->sid, "0x%llx is logged behind 0x%llx", u(zxid), u(shadow_last(s)));
    VEC_PUSH(&s->log, ((struct shadow_entry){ zxid, hash, SIM_NEVER }));
    n->shadow_peak = MAX(n->shadow_peak, zxid);
    world_mix(n->w, (uint64_t)zxid ^ hash);
}

void inv_durable(struct node *n, int64_t zxid, int64_t at_us)
{
    struct shadow *s = &n->shadow;

    for (size_t i = s->log.len; i-- > 0 && s->log.items[i].durable_us == SIM_NEVER;)
        if (s->log.items[i].zxid <= zxid)
            s->log.items[i].durable_us = at_us;
    world_line(n->w, SIM_LINE_DISK, n->sid, 0, "log durable up to 0x%llx", u(zxid));
}

/* Is what was committed last still on a quorum's disks, now that this server has less? */
static void check_durability(struct node *n, int64_t at_us)
{
    struct cluster *cl = n->cl;

    if (cl->commits.len == 0 || !reconf_is_voter(cl, n->sid))
        return;
    for (size_t i = cl->commits.len; i-- > 0 && cl->commits.items[i].zxid > shadow_last(&n->shadow);) {
        const struct commit *c = &cl->commits.items[i];
        if (on_quorum(cl, INT64_MAX, c->zxid, c->hash, at_us))
            continue;
        world_finding(n->w, "zab.durability", n->sid, "0x%llx was committed, and is on no quorum's disks any more: this server is back at 0x%llx",
                      u(c->zxid), u(shadow_last(&n->shadow)));
        return;
    }
}

static void shadow_copy(struct shadow *to, const struct shadow *from)
{
    to->base_zxid = from->base_zxid;
    to->base_us = from->base_us;
    to->log.len = 0;
    for (size_t i = 0; i < from->log.len; i++)
        VEC_PUSH(&to->log, from->log.items[i]);
}

void inv_log_moved(struct node *n, int64_t zxid, int64_t at_us)
{
    struct shadow *s = &n->shadow;

    if (shadow_last(s) == zxid)
        return; /* a reload */
    shadow_copy(&n->old, s);
    n->moved_us = at_us;
    n->moved = true;
    while (s->log.len > 0 && s->log.items[s->log.len - 1].zxid > zxid)
        s->log.len--;
    if (shadow_last(s) != zxid) {
        s->log.len = 0; /* a snapshot takes its place */
        s->base_zxid = zxid;
        s->base_us = at_us;
    }
    n->shadow_peak = MAX(n->shadow_peak, zxid);
    if (n->delivered > zxid)
        n->delivered = zxid;
    check_durability(n, at_us);
}

/* ---- delivery ---- */

static void commit_first(struct node *n, int64_t zxid, uint64_t hash)
{
    struct cluster *cl = n->cl;
    struct proposal *p = proposal_find(cl, zxid);
    struct commit c = { .zxid = zxid, .hash = hash, .at_us = cl->w->now_us };

    if (p) {
        c.txn = p->txn;
        c.txn_len = p->txn_len;
        c.at_us = p->at_us;
    }
    if (!on_quorum(cl, zxid, zxid, hash, node_time(n)))
        world_finding(n->w, "zab.commit-quorum", n->sid, "0x%llx is committed, but durable on no quorum", u(zxid));
    VEC_PUSH(&cl->commits, c);
    reconf_committed(cl, zxid);
    cl->result_commits++;
    world_mix(cl->w, (uint64_t)zxid);
}

bool inv_on_quorums(struct node *n, int64_t zxid)
{
    const struct proposal *p = proposal_find(n->cl, zxid);

    return p && on_quorum(n->cl, zxid, zxid, p->hash, node_time(n));
}

/* The server delivers zxid next. */
static void deliver(struct node *n, int64_t zxid, uint64_t hash)
{
    struct cluster *cl = n->cl;
    struct commit *next = commit_after(cl, n->delivered);

    if (!next) {
        commit_first(n, zxid, hash);
    } else if (next->zxid != zxid) {
        world_finding(n->w, "zab.agreement", n->sid, "delivers 0x%llx behind 0x%llx, where others delivered 0x%llx", u(zxid), u(n->delivered),
                      u(next->zxid));
    } else if (next->hash != hash) {
        world_finding(n->w, "zab.agreement", n->sid, "delivers another transaction as 0x%llx than others did", u(zxid));
    }
    n->delivered = zxid;
}

static void check_digest(struct node *n, int64_t zxid)
{
    struct commit *c = commit_find(n->cl, zxid);
    uint64_t digest = tree_digest(n->tree);

    if (!c)
        return;
    if (!c->has_digest) {
        c->has_digest = true;
        c->digest = digest;
    } else if (c->digest != digest) {
        world_finding(n->w, "tree.digest", n->sid, "at 0x%llx the tree's digest is %016llx, on the others %016llx", u(zxid),
                      (unsigned long long)digest, (unsigned long long)c->digest);
    }
}

void inv_applied(struct node *n)
{
    int64_t zxid = tree_last_zxid(n->tree);
    const struct shadow_entry *e = shadow_find(&n->shadow, zxid);
    const struct proposal *p = e ? NULL : proposal_find(n->cl, zxid); /* committed by others, and about to go to the log here */

    if (n->dying || zxid <= n->delivered)
        return;
    if (!e && !p) {
        world_finding(n->w, "zab.integrity", n->sid, "0x%llx is delivered, which no leader proposed", u(zxid));
        n->delivered = zxid;
        return;
    }
    deliver(n, zxid, e ? e->hash : p->hash);
    check_digest(n, zxid);
    if (core_digest_mismatches(n->core) != 0)
        world_finding(n->w, "tree.digest", n->sid, "at 0x%llx the tree is not what its transaction says", u(zxid));
}

/* ---- roles ---- */

static void check_leader(struct node *n, int64_t epoch)
{
    struct cluster *cl = n->cl;

    reconf_leads(n, epoch);
    while ((int64_t)cl->leaders.len <= epoch)
        VEC_PUSH(&cl->leaders, (int64_t)0);
    if (cl->leaders.items[epoch] != 0)
        world_finding(n->w, "zab.leadership", n->sid, "serves as leader of epoch %lld, which server %lld led", (long long)epoch,
                      (long long)cl->leaders.items[epoch]);
    cl->leaders.items[epoch] = n->sid;
    cl->elections++;
    size_t before = zxid_upto(cl->commits.items, cl->commits.len, sizeof(struct commit), zxid_of(epoch, 0));
    if (before > 0) {
        /* What is before it was checked when it was delivered, or came with a snapshot. */
        const struct commit *c = &cl->commits.items[before - 1];
        const struct shadow_entry *e = shadow_find(&n->shadow, c->zxid);
        if (c->zxid > n->shadow.base_zxid && (!e || e->hash != c->hash))
            world_finding(n->w, "zab.primary-integrity", n->sid, "begins to lead epoch %lld without 0x%llx, which was committed", (long long)epoch,
                          u(c->zxid));
    }
}

/* What a snapshot from an earlier leader holds and nobody has delivered yet: this leader commits it by taking it over. Another log tells what it was. */
static void deliver_base(struct node *n)
{
    int64_t base = n->shadow.base_zxid;

    for (uint32_t i = 0; i < n->cl->count; i++) {
        struct shadow *s = &n->cl->nodes[i].shadow;
        if (!shadow_find(s, base))
            continue;
        n->delivered = MAX(n->delivered, inv_last_committed(n->cl));
        for (size_t k = 0; k < s->log.len && s->log.items[k].zxid <= base; k++)
            if (s->log.items[k].zxid > n->delivered)
                deliver(n, s->log.items[k].zxid, s->log.items[k].hash);
        return;
    }
}

/* All of a server's history counts as delivered when it begins to serve. */
static void deliver_history(struct node *n)
{
    struct shadow *s = &n->shadow;
    int64_t last = tree_last_zxid(n->tree);

    if (n->role == CORE_LEADER && s->base_zxid > inv_last_committed(n->cl) && zxid_counter(s->base_zxid) != 0)
        deliver_base(n);
    if (s->base_zxid > n->delivered) {
        if (!commit_find(n->cl, s->base_zxid) && zxid_counter(s->base_zxid) != 0)
            world_finding(n->w, "zab.agreement", n->sid, "serves a snapshot of 0x%llx, which was never committed", u(s->base_zxid));
        n->delivered = s->base_zxid;
    }
    for (size_t i = 0; i < s->log.len && s->log.items[i].zxid <= last; i++)
        if (s->log.items[i].zxid > n->delivered)
            deliver(n, s->log.items[i].zxid, s->log.items[i].hash);
    if (last == n->delivered)
        check_digest(n, last);
}

void inv_become(struct node *n, enum core_role role, int64_t epoch)
{
    world_mix(n->w, (uint64_t)n->sid << 8 ^ (uint64_t)role ^ (uint64_t)epoch << 16);
    if (role != CORE_LEADER && role != CORE_LEARNER)
        return;
    if (role == CORE_LEADER) {
        n->led_epoch = epoch;
        check_leader(n, epoch);
    }
    deliver_history(n);
}

/* ---- what is sent ---- */

static void check_ack(struct node *n, int64_t zxid)
{
    int64_t at = node_time(n);
    int64_t durable = shadow_durable(&n->shadow, at);

    if (zxid_counter(zxid) != 0) {
        if (durable < zxid)
            world_finding(n->w, "disk.ack-durable", n->sid, "acknowledges 0x%llx, but its log is durable up to 0x%llx only", u(zxid), u(durable));
        return;
    }
    int64_t last = tree_last_zxid(n->tree);
    if (zxid_counter(last) != 0 && durable < last)
        world_finding(n->w, "disk.newleader-durable", n->sid,
                      "acknowledges NEWLEADER of epoch %lld with 0x%llx, but its log is durable up to 0x%llx only", (long long)zxid_epoch(zxid), u(last),
                      u(durable));
    if (!n->serving && zxid_counter(last) != 0 && last != shadow_last(&n->shadow))
        world_finding(n->w, "zab.newleader-applied", n->sid, "acknowledges NEWLEADER of epoch %lld with 0x%llx in memory and 0x%llx in its log",
                      (long long)zxid_epoch(zxid), u(last), u(shadow_last(&n->shadow)));
    n->acked_epoch = zxid_epoch(zxid);
    n->acked_us = at;
    while ((int64_t)n->cl->ackers.len <= n->acked_epoch)
        VEC_PUSH(&n->cl->ackers, (struct sid_set){ 0 });
    (void)sid_set_add(&n->cl->ackers.items[n->acked_epoch], n->sid);
    if (n->current_epoch != zxid_epoch(zxid))
        world_finding(n->w, "disk.newleader-durable", n->sid, "acknowledges NEWLEADER of epoch %lld, when currentEpoch is %lld",
                      (long long)zxid_epoch(zxid), (long long)n->current_epoch);
}

static const char *packet_text(const struct qpacket *p, char *text, size_t n)
{
    snprintf(text, n, "%s 0x%llx", qp_type_str(p->type), u(p->zxid));
    return text;
}

/* Asks what a power cut would leave right now. Dear: now and then, and whenever the history on disk was changed. */
static void check_crash(struct node *n, int64_t zxid)
{
    struct storage_recovered r = { 0 };
    struct storage_error err = { "" };
    struct storage_config cfg = n->storage;
    int64_t last = tree_last_zxid(n->tree);
    struct vdisk *d = vdisk_clone_crashed(n->disk, node_time(n), (uint64_t)n->sid << 40 ^ (uint64_t)zxid);

    n->moved = false;
    cfg.vfs = vdisk_vfs(d);
    vdisk_at(d, node_time(n));
    int rc = storage_recover(&cfg, NULL, NULL, &r, &err);
    if (rc < 0)
        world_finding(n->w, "disk.crash-keeps", n->sid, "were the power cut at the acknowledgement of epoch %lld, the server could not start: %s",
                      (long long)zxid_epoch(zxid), err.text);
    else if (r.last_zxid < last && zxid_counter(last) != 0)
        world_finding(n->w, "disk.crash-keeps", n->sid, "were the power cut at the acknowledgement of epoch %lld, 0x%llx would be left of 0x%llx",
                      (long long)zxid_epoch(zxid), u(r.last_zxid), u(last));
    else if (r.last_zxid > shadow_last(&n->shadow) && zxid_counter(r.last_zxid) != 0)
        world_finding(n->w, "disk.crash-keeps", n->sid, "were the power cut at the acknowledgement of epoch %lld, 0x%llx would be back, behind 0x%llx",
                      (long long)zxid_epoch(zxid), u(r.last_zxid), u(shadow_last(&n->shadow)));
    else {
        struct storage_epochs e = { 0, 0 };
        if (storage_epochs_load(&cfg, r.last_zxid, &e, &err) < 0)
            world_finding(n->w, "disk.crash-keeps", n->sid, "were the power cut now, the server could not start: %s", err.text);
        else if (e.current < zxid_epoch(zxid))
            world_finding(n->w, "disk.crash-keeps", n->sid, "were the power cut now, currentEpoch would be %lld instead of %lld",
                          (long long)e.current, (long long)zxid_epoch(zxid));
    }
    const struct commit *c = rc == 0 ? commit_find(n->cl, r.last_zxid) : NULL;
    if (c && c->has_digest && c->digest != tree_digest(r.tree))
        world_finding(n->w, "disk.crash-keeps", n->sid, "were the power cut at the acknowledgement of epoch %lld, the tree at 0x%llx would be another",
                      (long long)zxid_epoch(zxid), u(r.last_zxid));
    if (rc == 0)
        tree_free(r.tree);
    vdisk_free(d);
}

void inv_sending(struct node *n, bool to_leader, struct buf packets)
{
    struct arena a = arena_init();
    struct qpacket p;
    size_t used = 0;

    if (!to_leader && !n->w->wants_lines)
        return;
    for (size_t at = 0; at < packets.n; at += used) {
        char text[64];

        if (qpacket_decode(packets.p + at, packets.n - at, QP_MAX_BUFFER_DEFAULT, &a, &p, &used) != 0)
            break; /* the raw stream of a snapshot */
        if (p.type != QP_PING)
            world_line(n->w, SIM_LINE_MESSAGE, n->sid, 0, "%s", packet_text(&p, text, sizeof(text)));
        if (to_leader && p.type == QP_ACKEPOCH)
            nemesis_lurks(n, AMBUSH_SYNC);
        if (!to_leader || p.type != QP_ACK || (n->observer && !n->cl->opt->reconfig))
            continue;
        check_ack(n, p.zxid);
        if (zxid_counter(p.zxid) == 0 && !n->serving && !n->rotten && (rng_chance(&n->rng, 250) || n->moved))
            check_crash(n, p.zxid);
    }
    arena_free(&a);
}

/* ---- the disk ---- */

static bool ends_with(const char *path, const char *name)
{
    size_t n = strlen(path), k = strlen(name);

    return n > k && path[n - k - 1] == '/' && strcmp(path + n - k, name) == 0;
}

void inv_epoch_file(struct node *n, const char *path, struct buf content)
{
    char text[24] = "";
    int64_t value;

    memcpy(text, content.p, MIN(content.n, sizeof(text) - 1));
    value = strtoll(text, NULL, 10);
    if (ends_with(path, "acceptedEpoch")) {
        if (value < n->accepted_epoch)
            world_finding(n->w, "disk.epoch-order", n->sid, "acceptedEpoch goes back from %lld to %lld", (long long)n->accepted_epoch, (long long)value);
        n->accepted_epoch = value;
    } else if (ends_with(path, "currentEpoch")) {
        if (value < n->current_epoch)
            world_finding(n->w, "disk.epoch-order", n->sid, "currentEpoch goes back from %lld to %lld", (long long)n->current_epoch, (long long)value);
        n->current_epoch = value;
        if (value > n->accepted_epoch)
            world_finding(n->w, "disk.epoch-order", n->sid, "currentEpoch becomes %lld, when acceptedEpoch is %lld", (long long)value,
                          (long long)n->accepted_epoch);
    } else {
        return;
    }
    world_line(n->w, SIM_LINE_DISK, n->sid, 0, "%s is %lld", strrchr(path, '/') + 1, (long long)value);
}

static int64_t number_in(struct node *n, const char *name)
{
    char *path = x_asprintf("%s/version-2/%s", n->dir, name), text[24] = "";
    struct buf content = vdisk_get(n->disk, path);

    if (content.p)
        memcpy(text, content.p, MIN(content.n, sizeof(text) - 1));
    free(path);
    return strtoll(text, NULL, 10);
}

/* Epoch files as they are when a process starts: what was issued and not durable may be gone. What others were told may not. */
void inv_boots(struct node *n)
{
    n->accepted_epoch = number_in(n, "acceptedEpoch");
    n->current_epoch = number_in(n, "currentEpoch");
    if (!n->rotten && n->current_epoch < n->acked_epoch)
        world_finding(n->w, "disk.epoch-order", n->sid, "starts with currentEpoch %lld, after it acknowledged NEWLEADER of %lld",
                      (long long)n->current_epoch, (long long)n->acked_epoch);
}

/* What it wrote ahead of its end never happened, and what was not durable may be gone: recovery will tell. */
void inv_crashed(struct node *n, bool power, int64_t at_us)
{
    if (n->moved_us > at_us)
        shadow_copy(&n->shadow, &n->old);
    n->moved_us = 0;
    reconf_crashed(n, at_us);
    if (n->acked_us > at_us)
        n->acked_epoch = 0; /* never left */
    for (size_t i = 0; i < n->shadow.log.len; i++)
        if (n->shadow.log.items[i].durable_us > at_us)
            n->shadow.log.items[i].durable_us = SIM_NEVER;
    (void)power;
}

void inv_recovered(struct node *n)
{
    struct shadow *s = &n->shadow;

    n->led_epoch = 0;
    bool moving = n->moving;
    n->moving = false;
    int64_t durable = shadow_durable(s, n->w->now_us), last = n->recovered_zxid;

    if (last < durable && !moving)
        world_finding(n->w, "disk.recovery", n->sid, "recovers 0x%llx, though 0x%llx was durable", u(last), u(durable));
    if (last > shadow_last(s) && last > n->shadow_peak && !proposal_find(n->cl, last) && zxid_counter(last) != 0)
        world_finding(n->w, "disk.recovery", n->sid, "recovers 0x%llx, though only 0x%llx was ever logged", u(last), u(shadow_last(s)));
    while (s->log.len > 0 && s->log.items[s->log.len - 1].zxid > last)
        s->log.len--;
    /* What recovery found counts as durable: it is what a vote will name. Until it is synced by whoever reads it, it is so by the disk's grace. */
    for (size_t i = 0; i < s->log.len; i++)
        s->log.items[i].durable_us = MIN(s->log.items[i].durable_us, n->w->now_us);
    if (shadow_last(s) != last) {
        s->log.len = 0;
        s->base_zxid = last;
        s->base_us = n->w->now_us;
    }
    n->delivered = MIN(n->delivered, last);
    n->accepted_epoch = number_in(n, "acceptedEpoch");
    n->current_epoch = number_in(n, "currentEpoch");
    if (n->accepted_epoch < n->current_epoch || n->current_epoch < zxid_epoch(last))
        world_finding(n->w, "disk.epoch-order", n->sid, "starts with acceptedEpoch %lld, currentEpoch %lld, last transaction 0x%llx",
                      (long long)n->accepted_epoch, (long long)n->current_epoch, u(last));
    check_durability(n, n->w->now_us);
}

void inv_wiped(struct node *n)
{
    n->shadow.log.len = 0;
    n->shadow.base_zxid = n->shadow.base_us = 0;
    n->delivered = n->accepted_epoch = n->current_epoch = n->acked_epoch = 0;
    reconf_wiped(n);
}

bool inv_may_lose(const struct cluster *cl, const struct node *n)
{
    uint32_t others = 0, ready = 0;

    for (uint32_t i = 0; i < cl->count; i++) {
        if (&cl->nodes[i] == n || !reconf_is_voter(cl, cl->nodes[i].sid))
            continue;
        others++;
        ready += cl->nodes[i].serving && !cl->nodes[i].paused &&
                 shadow_durable(&cl->nodes[i].shadow, cl->w->now_us) >= inv_last_committed(cl);
    }
    /* Everybody else: whoever may have counted this server's word has what it stood for. */
    return ready == others && reconf_may_lose(cl);
}

void inv_turn(struct node *n)
{
    int64_t last = tree_last_zxid(n->tree);

    if (n->serving && last < n->shown)
        world_finding(n->w, "zab.monotonic-read", n->sid, "shows 0x%llx, after 0x%llx", u(last), u(n->shown));
    n->shown = n->serving ? last : 0;
    reconf_turn(n);
}

void inv_final(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->count; i++)
        if (cl->nodes[i].state == NODE_RUNNING)
            tree_check(cl->nodes[i].tree);
    reconf_final(cl);
}

void inv_done(struct cluster *cl)
{
    for (size_t i = 0; i < cl->proposals.len; i++)
        free(cl->proposals.items[i].txn);
    VEC_FREE(&cl->proposals);
    VEC_FREE(&cl->commits);
    VEC_FREE(&cl->leaders);
    for (size_t i = 0; i < cl->ackers.len; i++)
        sid_set_free(&cl->ackers.items[i]);
    VEC_FREE(&cl->ackers);
}

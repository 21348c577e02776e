/* peer_config.c - the ensemble's configurations at one server: what a reconfig request makes of them, and what a change does here.
 *
 * From its proposal on a configuration counts beside the committed one in every decision, so it is on disk before the proposal's acknowledgement can be. Committed, it
 * takes effect at once: on disk, in the tree, on the sockets; and if it names another leader, or gives us another role, the server
 * goes there without an election.
 * Source: PrepRequestProcessor, QuorumPeer.processReconfig, setLastSeenQuorumVerifier, updateLearnerType, updateVote (3.9.5). */
#include "base/log.h"
#include "peer_internal.h"

/* ---- a request ---- */

/* NULL stays NULL. *ok becomes false for what is no text. */
static char *text_of(struct jstr s, bool *ok)
{
    if (!s.p)
        return NULL;
    *ok &= memchr(s.p, 0, (size_t)s.n) == NULL;
    return x_strndup((const char *)s.p, (size_t)s.n);
}

static int change(struct peer *p, const struct quorum_config *from, const struct reconfig_request *q, int64_t zxid)
{
    const struct server_config *cfg = p->host.cfg;
    struct quorum_options opt = { cfg->multi_address, cfg->standalone_enabled };
    struct quorum_config *next = NULL;
    struct quorum_error why = { "" };
    bool ok = true;
    char *joining = text_of(q->joining, &ok), *leaving = text_of(q->leaving, &ok), *members = text_of(q->new_members, &ok);
    int rc = ok ? quorum_config_change(from, &(struct quorum_change){ joining, leaving, members }, &opt, zxid, &next, &why) : RC_INVAL;

    free(joining);
    free(leaving);
    free(members);
    if (rc < 0) {
        log_warn("quorum", "reconfiguration refused: %s", ok ? why.text : "a NUL in the request");
        return rc;
    }
    quorum_config_unref(p->asked);
    p->asked = next;
    return 0;
}

int32_t config_request(void *peer, const struct reconfig_request *q, int64_t zxid, struct buf *ret_text)
{
    struct peer *p = peer;

    ASSERT(p->leader);
    if (p->seen && p->seen->version != p->committed->version)
        return ZK_RECONFIGINPROGRESS;
    if (q->cur_config_id != -1 && q->cur_config_id != p->committed->version) {
        log_warn("quorum", "reconfiguration refused: made for version %llx, this is %llx", (unsigned long long)q->cur_config_id,
                 (unsigned long long)p->committed->version);
        return ZK_BADVERSION;
    }
    int rc = change(p, p->committed, q, zxid);
    if (rc < 0)
        return rc == RC_MALFORMED ? ZK_MARSHALLINGERROR : ZK_BADARGUMENTS;
    if (!zab_leader_has_synced_quorum(p->leader, p->asked)) {
        log_warn("quorum", "reconfiguration refused: no quorum of the new configuration is connected and in step");
        return ZK_NEWCONFIGNOQUORUM;
    }
    *ret_text = p->asked->text;
    return ZK_OK;
}

/* ---- changes ---- */

static void set_configs(struct peer *p, struct quorum_config *committed, struct quorum_config *seen)
{
    quorum_config_ref(committed);
    if (seen)
        quorum_config_ref(seen);
    quorum_config_unref(p->committed);
    quorum_config_unref(p->seen);
    p->committed = committed;
    p->seen = seen;
    p->host.net->set_configs(p->net, committed, seen);
}

void config_show(struct peer *p)
{
    const struct znode *n = tree_find(p->tree, jstr_of("/zookeeper/config"));
    struct buf text = p->committed->text;
    struct jbuf shown = n ? znode_data(n) : (struct jbuf){ NULL, -1 };

    if (n && shown.n >= 0 && buf_eq(buf_of(shown.p, (size_t)shown.n), text))
        return;
    p->host.tree_lock(p->host.data);
    tree_set_config(p->tree, (struct jbuf){ text.p, (int32_t)text.n }, p->committed->version,
                    p->host.wall_ms ? p->host.wall_ms(p->host.data) : 0);
    p->host.tree_unlock(p->host.data);
}

/* Who is only in the proposed one needs it to find the others, and cannot lead by it. */
static bool may_drop_seen(const struct peer *p)
{
    return p->seen && quorum_config_member(p->committed, p->my_sid);
}

static void drop_seen(struct peer *p)
{
    log_info("quorum", "the configuration that was proposed is not in our history: it is forgotten");
    quorum_config_unref(p->seen);
    p->seen = NULL;
}

/* What the recovered tree shows was made by the last such transaction of our history. If the files do not have it, we may have acknowledged it all the same, and it
 * counts as a proposed one: if it was committed, whoever leads next says so. If they have a later one, it was never logged, or withdrawn, and a power cut brought
 * the file back; nobody has acknowledged it here. */
void config_recover(struct peer *p)
{
    const struct server_config *cfg = p->host.cfg;
    const struct znode *n = tree_find(p->tree, jstr_of("/zookeeper/config"));
    struct jbuf text = n ? znode_data(n) : (struct jbuf){ NULL, -1 };
    struct quorum_options opt = { cfg->multi_address, cfg->standalone_enabled };
    struct quorum_config *c = NULL;

    if (!cfg->reconfig_enabled)
        return;
    if (text.n > 0 && quorum_config_parse(buf_of(text.p, (size_t)text.n), &opt, &c, NULL) < 0)
        c = NULL;
    if (may_drop_seen(p) && zxid_counter(p->seen->version) != 0 && p->seen->version > (c ? c->version : 0))
        drop_seen(p);
    if (!c || zxid_counter(c->version) == 0 || c->version <= (p->seen ? p->seen : p->committed)->version) {
        quorum_config_unref(c);
        return;
    }
    log_warn("quorum", "the log holds a configuration that no file does: version %llx", (unsigned long long)c->version);
    quorum_config_unref(p->seen);
    p->seen = c;
}

/* Is its transaction behind the end of our history? Then we have not acknowledged it. (The first version of all has no transaction.) */
static bool is_ahead(const struct peer *p, const struct quorum_config *c)
{
    return zxid_counter(c->version) != 0 && c->version > tree_last_zxid(p->tree);
}

/* A synchronisation may stop before what it brought was logged. If we led with such a one it would become the
 * configuration without a transaction, which no log remembers. */
void config_match_history(struct peer *p)
{
    if (may_drop_seen(p) && is_ahead(p, p->seen))
        config_seen(p, p->committed);
}

void config_seen(struct peer *p, struct quorum_config *c)
{
    struct quorum_config *seen = c->version > p->committed->version ? c : NULL;

    if (seen)
        log_info("quorum", "a new configuration is proposed: version %llx", (unsigned long long)c->version);
    else
        log_info("quorum", "the proposed configuration was withdrawn");
    if (p->host.config_seen)
        p->host.config_seen(p->host.data, seen);
    set_configs(p, p->committed, seen);
    election_set_configs(p->election, p->committed, p->seen);
}

/* What every newly committed configuration does. */
static void install(struct peer *p, struct quorum_config *c)
{
    log_info("quorum", "configuration: version %llx, %zu voters and %zu observers", (unsigned long long)c->version, c->voters.len,
             c->observers.len);
    set_configs(p, c, p->seen && p->seen->version > c->version ? p->seen : NULL);
    if (p->host.config_active)
        p->host.config_active(p->host.data, c);
    if (p->host.config_seen && !p->seen)
        p->host.config_seen(p->host.data, NULL);
}

void config_activate(struct peer *p, struct quorum_config *c, int64_t designated)
{
    bool differs = !quorum_config_same_members(c, p->committed);

    install(p, c);
    election_set_configs(p->election, p->committed, p->seen);
    p->reassigned = false;
    if (differs) {
        p->host.net->election_restart(p->net);
        election_restart(p->election, p->now_ms);
    }
    if (differs && designated >= 0) {
        bool other_leader = election_designate(p->election, designated, c->version);
        bool other_role = (election_role(p->election) == MEMBER_OBSERVER) != (p->state == ZAB_OBSERVING);
        p->reassigned = other_leader || other_role;
    }
    /* While we serve, its transaction, which is about to be applied, says it in the tree; the first version of all has none. */
    if (!p->serving || c->version <= tree_last_zxid(p->tree))
        config_show(p);
}

void config_adopt(struct peer *p, struct quorum_config *c)
{
    install(p, c);
    peer_keep_unlogged(p); /* it may make a voter of us, and the votes go out behind this */
    config_show(p);
}

/* vclient_reconf.c - a virtual client that changes the ensemble's members: adds servers, removes them, changes their roles and addresses, with and
 * without the version that it believes to be the current one, now and then what must be refused. What it knows of the members is what it
 * last read from /zookeeper/config or was answered, by now perhaps out of date. */
#include "vclient_internal.h"

#define CONFIG_PATH "/zookeeper/config"

enum { CHANGE_FROM_US = 200000, CHANGE_TO_US = 6000000 };

/* ---- what it knows ---- */

void reconf_note_answer(struct vclient *v, const struct hist_op *op)
{
    struct quorum_options opt = { .standalone_enabled = true };
    struct quorum_config *c = NULL;
    bool change = op->arg.op == ZK_OP_RECONFIG, read = op->arg.op == ZK_OP_GET_DATA && jstr_is(op->arg.path, CONFIG_PATH);

    v->changing -= change;
    if ((!change && !read) || op->outcome != HIST_OK || op->arg.got.n <= 0)
        return;
    if (quorum_config_parse(buf_of(op->arg.got.p, (size_t)op->arg.got.n), &opt, &c, NULL) < 0)
        return;
    quorum_config_unref(v->members);
    v->members = c;
}

/* ---- what it asks ---- */

static const char *role_name(const struct vclient *v, enum member_role role)
{
    (void)v;
    return role == MEMBER_OBSERVER ? "observer" : "participant";
}

/* moved: at other ports than it has, so that it counts as another place. */
static void put_line(struct vclient *v, struct wr *w, int64_t sid, enum member_role role, bool moved)
{
    const struct quorum_member *m = quorum_config_member(v->members, sid);
    uint16_t port = m ? m->addrs[0].quorum_port : 2888;

    if (moved)
        port = port == 2888 ? 2898 : 2888;
    wr_printf(w, "server.%lld=10.0.0.%lld:%u:3888:%s;0.0.0.0:2181", (long long)sid, (long long)sid, port, role_name(v, role));
}

static int64_t any_member(struct vclient *v)
{
    return v->members->members[vclient_random(v, v->members->members_len)].sid;
}

/* 0: all are members. */
static int64_t any_other(struct vclient *v)
{
    uint64_t start = vclient_random(v, v->cfg.server_count);

    for (uint64_t i = 0; i < v->cfg.server_count; i++) {
        int64_t sid = (int64_t)((start + i) % v->cfg.server_count) + 1;
        if (!quorum_config_member(v->members, sid))
            return sid;
    }
    return 0;
}

static enum member_role any_role(struct vclient *v)
{
    return vclient_random(v, 4) == 0 ? MEMBER_OBSERVER : MEMBER_PARTICIPANT;
}

static void change_join(struct vclient *v, struct wr *joining)
{
    int64_t sid = any_other(v);

    if (sid != 0)
        put_line(v, joining, sid, any_role(v), false);
}

static void change_role(struct vclient *v, struct wr *joining)
{
    int64_t sid = any_member(v);
    enum member_role was = quorum_config_member(v->members, sid)->role;

    put_line(v, joining, sid, was == MEMBER_OBSERVER ? MEMBER_PARTICIPANT : MEMBER_OBSERVER, false);
}

static void change_place(struct vclient *v, struct wr *joining)
{
    int64_t sid = any_member(v);

    put_line(v, joining, sid, quorum_config_member(v->members, sid)->role, true);
}

static void change_leave(struct vclient *v, struct wr *leaving)
{
    wr_printf(leaving, "%lld", (long long)any_member(v));
    if (vclient_random(v, 6) == 0)
        wr_printf(leaving, ",%lld", (long long)any_member(v));
}

/* Everything anew: any members, mostly enough of them; now and then with weights. */
static void change_all(struct vclient *v, struct wr *members)
{
    uint32_t voters = 0;

    for (uint32_t i = 1; i <= v->cfg.server_count; i++) {
        enum member_role role = any_role(v);
        if (vclient_random(v, 4) == 0)
            continue;
        if (members->n > 0)
            wr_text(members, ",");
        put_line(v, members, i, role, vclient_random(v, 8) == 0);
        voters += role == MEMBER_PARTICIPANT;
    }
    if (v->cfg.groups && voters > 2 && vclient_random(v, 4) == 0) {
        bool any = false;

        wr_text(members, ",group.1=");
        for (uint32_t i = 1; i <= v->cfg.server_count; i++) {
            wr_printf(members, "%s%u", any ? ":" : "", i);
            any = true;
        }
        wr_printf(members, ",weight.%llu=2", 1 + (unsigned long long)vclient_random(v, v->cfg.server_count));
    }
}

static struct jstr kept(struct vclient *v, struct wr *w)
{
    struct jstr s = w->n > 0 ? history_str(v->h, jstr_n((const char *)w->p, w->n)) : (struct jstr){ NULL, -1 };

    wr_free(w);
    return s;
}

static void change(struct vclient *v, int64_t now_us)
{
    struct wr joining = wr_init(0), leaving = wr_init(0), members = wr_init(0);
    struct reconfig_request *q = arena_calloc(&v->h->arena, 1, sizeof(*q));
    bool few = v->members->voters.len <= 3;

    if (v->members->hierarchical ? vclient_random(v, 5) > 0 : vclient_random(v, 7) == 0) {
        change_all(v, &members);
    } else {
        switch (vclient_random(v, 8)) {
        case 0:
        case 1:
            change_join(v, &joining);
            break;
        case 2:
            change_place(v, &joining);
            break;
        case 3:
            change_join(v, &joining);
            change_leave(v, &leaving);
            break;
        case 4:
            change_role(v, &joining);
            break;
        default:
            if (few && vclient_random(v, 4) > 0)
                change_join(v, &joining);
            else
                change_leave(v, &leaving);
        }
    }
    if (vclient_random(v, 50) == 0)
        wr_text(&joining, joining.n > 0 ? ",nonsense" : "nonsense");
    q->cur_config_id = vclient_random(v, 2) ? -1 : v->members->version + (vclient_random(v, 10) == 0);
    q->joining = kept(v, &joining);
    q->leaving = kept(v, &leaving);
    q->new_members = kept(v, &members);
    v->changing++;
    (void)vclient_request(v, &(struct hist_op){ .arg = { .op = ZK_OP_RECONFIG, .path = jstr_of(CONFIG_PATH), .version = -1 }, .change = q }, now_us);
}

bool load_change_due(const struct vclient *v, int64_t now_us)
{
    return v->cfg.changes_members && !v->settled && now_us >= v->next_change_us;
}

void load_change(struct vclient *v, int64_t now_us)
{
    v->next_change_us = now_us + CHANGE_FROM_US + (int64_t)vclient_random(v, CHANGE_TO_US);
    if (!v->members || vclient_random(v, 3) == 0) {
        (void)vclient_request(v, &(struct hist_op){ .arg = { .op = ZK_OP_GET_DATA, .path = jstr_of(CONFIG_PATH), .version = -1 } }, now_us);
        if (!v->members)
            v->next_change_us = now_us + CHANGE_FROM_US;
    } else {
        change(v, now_us);
    }
}

/* ---- the right to ---- */

/* One who may write /zookeeper/config: the superuser. */
void reconf_introduce(struct vclient *v, struct wr *w)
{
    static const char secret[] = SIM_SUPER;

    if (!v->cfg.changes_members)
        return;
    size_t frame = jute_frame_begin(w);
    request_header_write(w, &(struct request_header){ ZK_XID_AUTH, ZK_OP_AUTH });
    auth_packet_write(w, &(struct auth_packet){ 0, jstr_of("digest"), { (const uint8_t *)secret, (int32_t)sizeof(secret) - 1 } });
    jute_frame_end(w, frame);
}

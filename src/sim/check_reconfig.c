/* check_reconfig.c - history.reconfig: a change of the members is the one that was asked for, made of the configuration that it was asked of.
 *
 * - What is answered is the configuration that was committed at the zxid of the answer, which is its version.
 * - fromConfig, when given, names the configuration before; a refusal for its sake, another one.
 * - Who joins is in the next configuration with that role, who leaves is not. */
#include <stdlib.h>

#include "base/str.h"
#include "check_internal.h"
#include "zab/quorum.h"

#define NAME "history.reconfig"

struct context {
    const struct model *m;
    struct check_report *ret;
};

static void complain(struct context *c, const struct hist_op *op, const char *what)
{
    check_involve(check_add(c->ret, NAME, op->done_us, "%s", what), op);
}

/* The version of what was there at zxid; 0: what it began with, whose version may be the beginning of an epoch. */
static int64_t version_at(const struct model *m, int64_t zxid)
{
    const struct model_node *n = model_at(m, jstr_of("/zookeeper/config"), zxid);

    return n ? n->zxid : 0;
}

static bool names_version(const struct context *c, const struct hist_op *op, int64_t zxid)
{
    int64_t was = version_at(c->m, zxid), from = op->change->cur_config_id;

    return was == 0 ? (from & 0xffffffff) == 0 : from == was;
}

static bool joined(const struct quorum_config *c, const char *line)
{
    const struct quorum_member *m = quorum_config_member(c, strtoll(line + strlen("server."), NULL, 10));

    return m && (m->role == MEMBER_OBSERVER) == (strstr(line, ":observer;") != NULL);
}

static void check_members(struct context *ctx, const struct hist_op *op, const struct quorum_config *c)
{
    const struct reconfig_request *q = op->change;
    char *joining = q->joining.p ? x_strndup((const char *)q->joining.p, (size_t)q->joining.n) : x_strdup("");
    char *leaving = q->leaving.p ? x_strndup((const char *)q->leaving.p, (size_t)q->leaving.n) : x_strdup("");
    char **lines = str_split(joining, ",", NULL), **sids = str_split(leaving, ",", NULL);

    for (char **line = lines; *line && !q->new_members.p; line++)
        if (**line && !joined(c, *line))
            complain(ctx, op, "who was to join is not what it was to be");
    for (char **sid = sids; *sid && !q->new_members.p; sid++) {
        char *again = x_asprintf("server.%s=", *sid);
        if (**sid && !strstr(joining, again) && quorum_config_member(c, strtoll(*sid, NULL, 10)))
            complain(ctx, op, "who was to leave is a member");
        free(again);
    }
    str_split_free(lines);
    str_split_free(sids);
    free(joining);
    free(leaving);
}

static void check_change(struct context *ctx, const struct hist_op *op)
{
    const struct model_node *n = model_at(ctx->m, jstr_of("/zookeeper/config"), op->zxid);
    struct quorum_options opt = { .standalone_enabled = true };
    struct buf got = buf_of(op->arg.got.p, (size_t)MAX(op->arg.got.n, 0));
    struct quorum_config *c = NULL;

    if (!n || n->zxid != op->zxid)
        return; /* check_acknowledged says so */
    if (!buf_eq(got, buf_of(n->data.p, (size_t)MAX(n->data.n, 0)))) {
        complain(ctx, op, "the answer is not the configuration that was committed");
        return;
    }
    if (quorum_config_parse(got, &opt, &c, NULL) < 0 || c->version != op->zxid)
        complain(ctx, op, "the answer is no configuration of its zxid");
    else
        check_members(ctx, op, c);
    quorum_config_unref(c);
    if (op->change->cur_config_id != -1 && !names_version(ctx, op, op->zxid - 1))
        complain(ctx, op, "it was made of another configuration than it was asked of");
}

void check_reconfig(const struct check_input *in, const struct model *m, struct check_report *ret)
{
    struct context c = { m, ret };

    for (size_t i = 0; m && i < in->h->ops.len; i++) {
        const struct hist_op *op = in->h->ops.items[i];

        if (op->arg.op != ZK_OP_RECONFIG)
            continue;
        if (op->outcome == HIST_OK)
            check_change(&c, op);
        else if (op->outcome == HIST_ERROR && op->err == ZK_BADVERSION && (op->change->cur_config_id == -1 || (version_at(m, op->zxid) != 0 && names_version(&c, op, op->zxid))))
            complain(&c, op, "refused for a version that was the right one");
    }
}

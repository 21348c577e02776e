/* quorum.c - sets of servers and what a configuration says about them. Its text is quorum_text.c's business. */
#include "zab/quorum.h"

#include "quorum_internal.h"

/* ---- sets ---- */

/* Index of the first item that is not less than sid. */
static size_t sid_set_find(const struct sid_set *s, int64_t sid)
{
    size_t lo = 0, hi = s->len;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->items[mid] < sid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool sid_set_has(const struct sid_set *s, int64_t sid)
{
    size_t i = sid_set_find(s, sid);

    return i < s->len && s->items[i] == sid;
}

bool sid_set_add(struct sid_set *s, int64_t sid)
{
    size_t i = sid_set_find(s, sid);

    if (i < s->len && s->items[i] == sid)
        return false;
    VEC_RESERVE(s, s->len + 1);
    memmove(s->items + i + 1, s->items + i, (s->len - i) * sizeof(*s->items));
    s->items[i] = sid;
    s->len++;
    return true;
}

bool sid_set_remove(struct sid_set *s, int64_t sid)
{
    size_t i = sid_set_find(s, sid);

    if (i == s->len || s->items[i] != sid)
        return false;
    memmove(s->items + i, s->items + i + 1, (s->len - i - 1) * sizeof(*s->items));
    s->len--;
    return true;
}

void sid_set_free(struct sid_set *s)
{
    VEC_FREE(s);
}

/* ---- members ---- */

void quorum_member_done(struct quorum_member *m)
{
    for (size_t i = 0; i < m->addrs_len; i++)
        free(m->addrs[i].host);
    free(m->addrs);
    free(m->client_host);
    *m = (struct quorum_member){ 0 };
}

struct quorum_member quorum_member_copy(const struct quorum_member *m)
{
    struct quorum_member c = *m;

    c.addrs = x_memdup(m->addrs, m->addrs_len * sizeof(*m->addrs));
    for (size_t i = 0; i < m->addrs_len; i++)
        c.addrs[i].host = x_strdup(m->addrs[i].host);
    c.client_host = x_strdup(m->client_host);
    return c;
}

static bool member_equal(const struct quorum_member *a, const struct quorum_member *b)
{
    if (a->sid != b->sid || a->role != b->role || a->addrs_len != b->addrs_len || a->client_port != b->client_port)
        return false;
    if (a->client_port != 0 && strcmp(a->client_host, b->client_host) != 0)
        return false;
    for (size_t i = 0; i < a->addrs_len; i++) {
        const struct quorum_addr *x = &a->addrs[i], *y = &b->addrs[i];

        if (x->quorum_port != y->quorum_port || x->election_port != y->election_port || strcmp(x->host, y->host) != 0)
            return false;
    }
    return true;
}

/* ---- configuration ---- */

struct quorum_config *quorum_config_ref(struct quorum_config *c)
{
    ASSERT(__atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED) > 0);
    return c;
}

void quorum_config_unref(struct quorum_config *c)
{
    if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < c->members_len; i++)
        quorum_member_done(&c->members[i]);
    free(c->members);
    sid_set_free(&c->voters);
    sid_set_free(&c->observers);
    free(c->weights);
    free(c->groups);
    free(c->group_weights);
    free((void *)(uintptr_t)c->text.p);
    free(c);
}

const struct quorum_member *quorum_config_member(const struct quorum_config *c, int64_t sid)
{
    size_t lo = 0, hi = c->members_len;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (c->members[mid].sid == sid)
            return &c->members[mid];
        if (c->members[mid].sid < sid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

bool quorum_config_is_voter(const struct quorum_config *c, int64_t sid)
{
    return sid_set_has(&c->voters, sid);
}

static const struct quorum_weight *find_weight(const struct quorum_config *c, int64_t sid)
{
    for (size_t i = 0; i < c->weights_len; i++)
        if (c->weights[i].sid == sid)
            return &c->weights[i];
    return NULL;
}

int64_t quorum_config_weight(const struct quorum_config *c, int64_t sid)
{
    if (!c->hierarchical)
        return 1;
    const struct quorum_weight *w = find_weight(c, sid);
    return w ? w->weight : 0;
}

bool quorum_member_same_addr(const struct quorum_member *a, const struct quorum_member *b)
{
    if (!a || !b || a->addrs_len != b->addrs_len)
        return false;
    for (size_t i = 0; i < a->addrs_len; i++)
        if (strcmp(a->addrs[i].host, b->addrs[i].host) != 0 || a->addrs[i].quorum_port != b->addrs[i].quorum_port)
            return false;
    return true;
}

bool quorum_config_same_members(const struct quorum_config *a, const struct quorum_config *b)
{
    if (a->members_len != b->members_len)
        return false;
    for (size_t i = 0; i < a->members_len; i++)
        if (!member_equal(&a->members[i], &b->members[i]))
            return false;
    return true;
}

bool quorum_config_equal(const struct quorum_config *a, const struct quorum_config *b)
{
    return a->version == b->version || quorum_config_same_members(a, b);
}

/* ---- quorums ---- */

/* A group counts when more than half of its weight is in the set; more than half of the groups must count, those without any
 * weight left aside. */
static bool hierarchical_has_quorum(const struct quorum_config *c, const struct sid_set *set)
{
    size_t full = 0, weighty = 0;

    for (size_t g = 0; g < c->groups_len; g++) {
        int64_t sum = 0;

        for (size_t i = 0; i < c->weights_len; i++) {
            const struct quorum_weight *w = &c->weights[i];

            if (w->group == c->groups[g] && sid_set_has(set, w->sid) && quorum_config_is_voter(c, w->sid))
                sum += w->weight;
        }
        weighty += c->group_weights[g] > 0;
        full += sum > c->group_weights[g] / 2;
    }
    return full > weighty / 2;
}

bool quorum_config_has_quorum(const struct quorum_config *c, const struct sid_set *set)
{
    size_t count = 0;

    if (c->hierarchical)
        return hierarchical_has_quorum(c, set);
    for (size_t i = 0; i < set->len; i++)
        count += quorum_config_is_voter(c, set->items[i]);
    return count > c->voters.len / 2;
}

bool quorum_view_is_joint(struct quorum_view v)
{
    return v.last_seen && v.last_seen->version > v.committed->version;
}

bool quorum_view_has_quorum(struct quorum_view v, const struct sid_set *set)
{
    return quorum_config_has_quorum(v.committed, set) &&
           (!quorum_view_is_joint(v) || quorum_config_has_quorum(v.last_seen, set));
}

bool quorum_view_is_voter(struct quorum_view v, int64_t sid)
{
    return quorum_config_is_voter(v.committed, sid) || (v.last_seen && quorum_config_is_voter(v.last_seen, sid));
}

void quorum_view_voters(struct quorum_view v, struct sid_set *ret)
{
    for (size_t i = 0; i < v.committed->voters.len; i++)
        (void)sid_set_add(ret, v.committed->voters.items[i]); /* in already: as good */
    for (size_t i = 0; v.last_seen && i < v.last_seen->voters.len; i++)
        (void)sid_set_add(ret, v.last_seen->voters.items[i]);
}

int64_t quorum_view_weight(struct quorum_view v, int64_t sid)
{
    if (v.committed->hierarchical && !find_weight(v.committed, sid) && v.last_seen)
        return quorum_config_weight(v.last_seen, sid);
    return quorum_config_weight(v.committed, sid);
}

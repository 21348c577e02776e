/* requests.c - what the load generator sends. */
#include <stdio.h>

#include "load.h"

/* splitmix64: one seed, one sequence. */
uint64_t load_random(struct load *l)
{
    uint64_t z = l->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t load_below(struct load *l, uint64_t n)
{
    return (uint64_t)((unsigned __int128)load_random(l) * n >> 64);
}

/* ---- names ---- */

static void put_digits(char *p, uint64_t n)
{
    for (int i = LOAD_MADE_DIGITS - 1; i >= 0; i--, n /= 10)
        p[i] = (char)('0' + n % 10);
}

void load_names_init(struct load *l)
{
    const struct bench_options *opt = l->opt;
    const char *chroot = opt->servers->chroot, *root = strcmp(opt->root, "/") == 0 ? "" : opt->root;

    l->root = x_asprintf("%s%s", chroot, root);
    l->keys = x_asprintf("%s/keys", l->root);
    l->dir = x_asprintf("%s/dir", l->root);
    /* What this run makes in passing is told from what another makes at the same time. */
    l->made = x_asprintf("%s/made-%016llx", l->root, (unsigned long long)l->made_next);
    l->made_next = 0;
    l->key_path = x_asprintf("%s/k%0*d", l->keys, LOAD_MADE_DIGITS, 0);
    l->key_prefix = strlen(l->keys) + 2;
    l->made_path = x_asprintf("%s/n%0*d%0*d", l->made, LOAD_MADE_DIGITS, 0, LOAD_MADE_DIGITS, 0);
    l->made_prefix = strlen(l->made) + 2;
    l->value_len = (size_t)opt->value_max + 4096;
    l->value = x_malloc(l->value_len);
    for (size_t i = 0; i < l->value_len; i++)
        l->value[i] = (uint8_t)load_random(l);
}

void load_names_free(struct load *l)
{
    free(l->root);
    free(l->keys);
    free(l->dir);
    free(l->made);
    free(l->key_path);
    free(l->made_path);
    free(l->value);
}

const char *load_key_path(struct load *l, uint64_t key, size_t *ret_len)
{
    put_digits(l->key_path + l->key_prefix, key);
    *ret_len = l->key_prefix + LOAD_MADE_DIGITS;
    return l->key_path;
}

const char *load_made_path(struct load *l, char kind, uint64_t number, size_t *ret_len)
{
    l->made_path[l->made_prefix - 1] = kind;
    put_digits(l->made_path + l->made_prefix, number / 100000000);
    put_digits(l->made_path + l->made_prefix + LOAD_MADE_DIGITS, number % 100000000);
    *ret_len = l->made_prefix + 2 * (size_t)LOAD_MADE_DIGITS;
    return l->made_path;
}

static struct jbuf value(struct load *l)
{
    const struct bench_options *opt = l->opt;
    uint32_t n = opt->value_min;

    if (opt->value_max > n)
        n += (uint32_t)load_below(l, opt->value_max - n + 1);
    return (struct jbuf){ l->value + (load_random(l) & 4095), (int32_t)n };
}

/* ---- requests ---- */

static size_t begin(struct bconn *c, int32_t op)
{
    size_t at = jute_frame_begin(&c->out);

    request_header_write(&c->out, &(struct request_header){ ++c->xid_sent, op });
    return at;
}

void put_connect(struct bconn *c)
{
    size_t at = jute_frame_begin(&c->out);

    connect_request_write(&c->out, &(struct connect_request){ 0, c->last_zxid, c->l->opt->session_timeout_ms, c->session_id,
                                                              { c->passwd, ZK_PASSWORD_LEN } });
    wr_u8(&c->out, 0); /* readOnly */
    jute_frame_end(&c->out, at);
}

void put_ping(struct bconn *c)
{
    size_t at = jute_frame_begin(&c->out);

    request_header_write(&c->out, &(struct request_header){ ZK_XID_PING, ZK_OP_PING });
    jute_frame_end(&c->out, at);
}

void put_close_session(struct bconn *c)
{
    jute_frame_end(&c->out, begin(c, ZK_OP_CLOSE_SESSION));
}

void put_create(struct bconn *c, const char *path, size_t len, bool ephemeral)
{
    static struct jacl open_acl = { ZK_PERM_ALL, { "world", 5 }, { "anyone", 6 } };
    size_t at = begin(c, ZK_OP_CREATE);

    create_request_write(&c->out, &(struct create_request){ jstr_n(path, len), value(c->l), { &open_acl, 1 },
                                                            ephemeral ? ZK_EPHEMERAL : ZK_PERSISTENT });
    jute_frame_end(&c->out, at);
}

void put_delete(struct bconn *c, const char *path, size_t len)
{
    size_t at = begin(c, ZK_OP_DELETE);

    path_version_write(&c->out, &(struct path_version){ jstr_n(path, len), -1 });
    jute_frame_end(&c->out, at);
}

void put_children(struct bconn *c, const char *path)
{
    size_t at = begin(c, ZK_OP_GET_CHILDREN);

    path_watch_write(&c->out, &(struct path_watch){ jstr_of(path), false });
    jute_frame_end(&c->out, at);
}

void put_sync(struct bconn *c, const char *path)
{
    size_t at = begin(c, ZK_OP_SYNC);

    path_only_write(&c->out, &(struct path_only){ jstr_of(path) });
    jute_frame_end(&c->out, at);
}

static void put_read(struct bconn *c, int32_t op, const char *path, size_t len)
{
    size_t at = begin(c, op);

    path_watch_write(&c->out, &(struct path_watch){ jstr_n(path, len), false });
    jute_frame_end(&c->out, at);
}

static struct jstr random_key(struct load *l)
{
    size_t len;
    const char *path = load_key_path(l, load_below(l, l->opt->keys), &len);

    return jstr_n(path, len);
}

static void put_set(struct bconn *c)
{
    size_t at = begin(c, ZK_OP_SET_DATA);

    set_data_request_write(&c->out, &(struct set_data_request){ random_key(c->l), value(c->l), -1 });
    jute_frame_end(&c->out, at);
}

static void put_multi(struct bconn *c)
{
    size_t at = begin(c, ZK_OP_MULTI);

    for (uint32_t i = 0; i < c->l->opt->multi_size; i++) {
        multi_header_write(&c->out, &(struct multi_header){ ZK_OP_SET_DATA, false, -1 });
        set_data_request_write(&c->out, &(struct set_data_request){ random_key(c->l), value(c->l), -1 });
    }
    jute_write_multi_end(&c->out);
    jute_frame_end(&c->out, at);
}

/* ---- operations ---- */

enum bench_op load_pick(struct load *l)
{
    uint32_t at = (uint32_t)load_below(l, l->mix_sum);
    uint32_t op = 0;

    while (at >= l->mix[op])
        op++;
    return (enum bench_op)op;
}

static void put_made(struct bconn *c, int64_t at_us)
{
    size_t len;
    uint64_t number = c->l->made_next++;
    const char *path = load_made_path(c->l, 'n', number, &len);

    put_create(c, path, len, false);
    bconn_pending(c, BENCH_CREATE, at_us, number, 1);
}

static void put_unmade(struct bconn *c, int64_t at_us)
{
    size_t len;
    const char *path = load_made_path(c->l, 'n', c->made.items[c->made_head++], &len);

    if (c->made_head == c->made.len)
        c->made_head = c->made.len = 0;
    put_delete(c, path, len);
    bconn_pending(c, BENCH_DELETE, at_us, 0, 1);
}

static void put_ephemeral(struct bconn *c, int64_t at_us)
{
    size_t len;
    const char *path = load_made_path(c->l, 'e', c->l->made_next++, &len);

    put_create(c, path, len, true);
    put_delete(c, path, len);
    bconn_pending(c, BENCH_EPHEMERAL, at_us, 0, 2);
}

void put_op(struct bconn *c, enum bench_op op, int64_t at_us)
{
    struct load *l = c->l;
    struct jstr key;

    if (op == BENCH_DELETE && c->made_head == c->made.len)
        op = BENCH_CREATE;
    switch (op) {
    case BENCH_GET:
    case BENCH_EXISTS:
        key = random_key(l);
        put_read(c, op == BENCH_GET ? ZK_OP_GET_DATA : ZK_OP_EXISTS, key.p, (size_t)key.n);
        break;
    case BENCH_CHILDREN:
        put_read(c, ZK_OP_GET_CHILDREN2, l->dir, strlen(l->dir));
        break;
    case BENCH_SYNC:
        put_sync(c, l->keys);
        break;
    case BENCH_SET:
        put_set(c);
        break;
    case BENCH_MULTI:
        put_multi(c);
        break;
    case BENCH_CREATE:
        put_made(c, at_us);
        return;
    case BENCH_DELETE:
        put_unmade(c, at_us);
        return;
    case BENCH_EPHEMERAL:
        put_ephemeral(c, at_us);
        return;
    default:
        ASSERT(false);
    }
    bconn_pending(c, (uint8_t)op, at_us, 0, 1);
}

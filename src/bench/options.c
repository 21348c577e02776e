/* options.c - the operations and what people write about them. */
#include "base/bytes.h"
#include "base/str.h"
#include "bench/bench.h"

static const struct {
    const char *name;
    bool writes;
    const char *help;
} ops[BENCH_OPS] = {
#define X(name, text, writes, help) { text, writes, help },
    BENCH_OP_TABLE(X)
#undef X
};

const char *bench_op_name(enum bench_op op)
{
    return ops[op].name;
}

const char *bench_op_help(enum bench_op op)
{
    return ops[op].help;
}

bool bench_op_writes(enum bench_op op)
{
    return ops[op].writes;
}

static int find(const char *name)
{
    for (int i = 0; i < BENCH_OPS; i++)
        if (strcmp(ops[i].name, name) == 0)
            return i;
    return -1;
}

static char *unknown(const char *name)
{
    struct wr w = wr_init(0);

    wr_printf(&w, "%s is not one of", name);
    for (int i = 0; i < BENCH_OPS; i++)
        wr_printf(&w, "%s %s", i ? "," : "", ops[i].name);
    return (char *)wr_cstr(&w); /* its memory is now the text's */
}

/* One "name=weight". */
static int mix_part(char *part, uint32_t weights[BENCH_OPS], char **ret_error)
{
    char *eq = strchr(part, '=');
    int64_t weight = 1;

    if (eq)
        *eq = '\0';
    int op = find(part);
    if (op < 0) {
        *ret_error = unknown(part);
        return RC_INVAL;
    }
    if (eq && str_to_i64(eq + 1, 0, 1000000, &weight) < 0) {
        *ret_error = x_asprintf("%s=%s: a weight is a whole number from 0 to 1000000", part, eq + 1);
        return RC_INVAL;
    }
    if (weights[op] != 0) {
        *ret_error = x_asprintf("%s stands there twice", part);
        return RC_INVAL;
    }
    weights[op] = (uint32_t)weight;
    return 0;
}

int bench_mix_parse(const char *text, uint32_t weights[BENCH_OPS], char **ret_error)
{
    uint32_t found[BENCH_OPS] = { 0 };
    uint64_t sum = 0;
    char **parts = str_split(text, ",", NULL);
    int rc = 0;

    for (size_t i = 0; parts[i] && rc == 0; i++)
        rc = mix_part(parts[i], found, ret_error);
    str_split_free(parts);
    for (size_t i = 0; i < BENCH_OPS; i++)
        sum += found[i];
    if (rc == 0 && sum == 0) {
        *ret_error = x_strdup("no operation is left: write e.g. get=90,set=10");
        rc = RC_INVAL;
    }
    if (rc == 0)
        memcpy(weights, found, sizeof(found));
    return rc;
}

int bench_size_parse(const char *text, uint32_t max, uint32_t *ret_min, uint32_t *ret_max)
{
    const char *dash = strchr(text, '-');
    char *first = x_strndup(text, dash ? (size_t)(dash - text) : strlen(text));
    int64_t from, to;
    int rc = str_to_i64(first, 0, max, &from);

    free(first);
    if (rc == 0)
        rc = dash ? str_to_i64(dash + 1, from, max, &to) : (to = from, 0);
    if (rc < 0)
        return RC_INVAL;
    *ret_min = (uint32_t)from;
    *ret_max = (uint32_t)to;
    return 0;
}

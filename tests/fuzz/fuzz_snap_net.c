/* fuzz_snap_net.c - the snapshot stream that a learner receives. The first byte chooses the size of the
 * chunks; whatever they are, the outcome must be the same as in one piece. */
#include "storage/storage.h"

static int run(const struct storage_config *cfg, const uint8_t *data, size_t size, size_t chunk,
               struct tree **ret, size_t *ret_end)
{
    struct snap_decoder *d = snap_decoder_new(cfg);
    struct storage_error err;
    int rc = RC_SHORT;
    size_t at = 0;
    while (rc == RC_SHORT && at < size) {
        size_t n = MIN(chunk, size - at), used = 0;
        uint8_t *copy = x_memdup(data + at, n); /* so that the sanitizer sees every read beyond */
        rc = snap_decoder_feed(d, copy, n, &used, &err);
        free(copy);
        ASSERT(rc != 0 || used <= n);
        at += rc == 0 ? used : n;
    }
    if (rc == 0)
        rc = snap_decoder_take(d, 5, ret, &err);
    *ret_end = at;
    snap_decoder_free(d);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct storage_config cfg = {.max_record = 1 << 20, .tree.extended_types = true};
    struct tree *a = NULL, *b = NULL;
    size_t end_a, end_b;
    int rc_a = run(&cfg, data + 1, size - 1, size, &a, &end_a);
    int rc_b = run(&cfg, data + 1, size - 1, 1 + data[0] % 64, &b, &end_b);
    ASSERT(rc_a == rc_b);
    if (rc_a == 0) {
        ASSERT(end_a == end_b && tree_digest(a) == tree_digest(b));
        tree_load_settle(a);
        tree_kill_orphans(a);
        tree_check(a);
    }
    tree_free(a);
    tree_free(b);
    return 0;
}

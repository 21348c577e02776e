/* fuzz_txnlog.c - transaction log files from a disk in memory, through the whole recovery. The first byte may ask for the
 * checksums of the records to be made right first, so that the transactions in them are reached. */
#include <zlib.h>

#include "base/log.h"
#include "faultfs.h"
#include "storage/storage.h"

static void fix_checksums(uint8_t *p, size_t n)
{
    for (size_t at = 16; at + 13 <= n;) {
        uint32_t len = load_u32(p + at + 8);
        if (len == 0 || len > n - at - 13)
            return;
        store_u64(p + at, adler32_z(1, p + at + 12, len));
        p[at + 12 + len] = 'B';
        at += 13 + (size_t)len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    log_set_level((enum log_level)-1);
    uint8_t *copy = x_memdup(data + 1, size - 1);
    if (data[0] % 2)
        fix_checksums(copy, size - 1);
    struct faultfs *fs = faultfs_new(1);
    faultfs_put(fs, "/d/version-2/log.1", copy, size - 1);
    struct storage_config cfg = { .vfs = faultfs_vfs(fs), .data_dir = "/d", .max_record = 1 << 20, .trust_empty = true,
                                  .tree.extended_types = true };
    struct storage_recovered r, again;
    struct storage_error err;
    if (storage_recover(&cfg, NULL, NULL, &r, &err) == 0) {
        tree_check(r.tree);
        /* What the first recovery left behind must recover again, to the same. */
        ASSERT(storage_recover(&cfg, NULL, NULL, &again, &err) == 0);
        ASSERT(again.last_zxid == r.last_zxid);
        ASSERT(tree_digest(again.tree) == tree_digest(r.tree));
        tree_free(again.tree);
        tree_free(r.tree);
    }
    faultfs_free(fs);
    free(copy);
    return 0;
}

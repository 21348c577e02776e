/* fuzz_snapshot.c - snapshot files of every format, from a disk in memory. The first byte chooses the format. With the checksums
 * as they are few inputs get far, so the second byte may ask for them to be made right first. */
#include <zlib.h>

#include "base/log.h"
#include "faultfs.h"
#include "storage/storage.h"

/* Puts a right seal behind the first end of nodes, if there is one: the bytes before it were chosen by the fuzzer. */
static void fix_seal(uint8_t *p, size_t n)
{
    static const uint8_t end[] = { 0, 0, 0, 1, '/' };
    for (size_t i = 24; i + sizeof(end) + 8 <= n; i++)
        if (memcmp(p + i, end, sizeof(end)) == 0)
            store_u64(p + i + sizeof(end), adler32_z(1, p, i + sizeof(end)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = { "/d/version-2/snapshot.5", "/d/version-2/snapshot.5.gz", "/d/version-2/snapshot.5.snappy" };
    if (size < 2)
        return 0;
    log_set_level(LOG_ERROR);
    const char *path = paths[data[0] % 3];
    uint8_t *copy = x_memdup(data + 2, size - 2);
    if (data[0] % 3 == 0 && data[1] % 2)
        fix_seal(copy, size - 2);
    struct faultfs *fs = faultfs_new(1);
    faultfs_put(fs, path, copy, size - 2);
    struct storage_config cfg = { .vfs = faultfs_vfs(fs), .data_dir = "/d", .max_record = 1 << 20, .tree.extended_types = true };
    struct tree *t;
    struct storage_error err;
    if (snapshot_read(&cfg, path, 5, &t, &err) == 0) {
        tree_load_settle(t);
        tree_kill_orphans(t);
        tree_check(t);
        tree_free(t);
    }
    faultfs_free(fs);
    free(copy);
    return 0;
}

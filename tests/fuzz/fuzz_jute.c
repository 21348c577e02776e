/* Every record's reader on arbitrary bytes: the first byte picks the record. What is read must write back. */
#include "jute/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct arena a = arena_init();
    struct wr w = wr_init(0);
    int pick = data[0], at = 0;
#define X(name, fields)                                                                                      \
    if (pick == at++) {                                                                                      \
        struct rd r = rd_init(data + 1, size - 1);                                                           \
        struct name v;                                                                                       \
        name##_read(&r, &a, &v);                                                                             \
        if (r.rc == 0)                                                                                       \
            name##_write(&w, &v);                                                                            \
    }
    ZK_RECORDS(X)
#undef X
    (void)zk_path_problem((const char *)data + 1, (int32_t)(size - 1));
    wr_free(&w);
    arena_free(&a);
    return 0;
}

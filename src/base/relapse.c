/* relapse.c - the list of historical bugs. See relapse.h. */
#include "base/relapse.h"

#include <strings.h>

#define RELAPSE_INFO(n, t) { n, t },
const struct relapse_info relapse_table[RELAPSE_COUNT] = { RELAPSES(RELAPSE_INFO) };

_Atomic uint64_t relapse_bits;

void relapse_set(enum relapse r, bool on)
{
    ASSERT(r < RELAPSE_COUNT);
    if (on)
        atomic_fetch_or(&relapse_bits, UINT64_C(1) << r);
    else
        atomic_fetch_and(&relapse_bits, ~(UINT64_C(1) << r));
}

enum relapse relapse_find(const char *text)
{
    char *end;

    if (strncasecmp(text, "ZOOKEEPER-", 10) == 0)
        text += 10;
    long n = strtol(text, &end, 10);
    if (end == text || *end)
        return RELAPSE_COUNT;
    for (int i = 0; i < RELAPSE_COUNT; i++)
        if (relapse_table[i].number == n)
            return (enum relapse)i;
    return RELAPSE_COUNT;
}

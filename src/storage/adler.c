/* adler.c - Adler-32 by vectors where the processor has them, by zlib elsewhere and for what is left over.
 *
 * The low half is 1 plus the sum of the bytes, the high half the sum of all the low halves there were. For a block of 32 bytes the high half
 * grows by 32 times the low half before it, and by each byte times how often it is counted: 32 for the first, 1 for the last. */
#include "adler.h"

#include <zlib.h>

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    BASE = 65521,
    BLOCK = 32,
    RUN = 5552 / BLOCK, /* blocks until a 32-bit sum could overflow */
};

__attribute__((target("ssse3"))) static uint32_t sum_up(__m128i v)
{
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(v);
}

/* n: blocks. */
__attribute__((target("ssse3"))) static uint32_t adler_blocks(uint32_t adler, const uint8_t *p, size_t n)
{
    const __m128i first = _mm_setr_epi8(32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17);
    const __m128i second = _mm_setr_epi8(16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1);
    const __m128i zero = _mm_setzero_si128(), ones = _mm_set1_epi16(1);
    uint32_t low = adler & 0xffff, high = adler >> 16;

    while (n > 0) {
        size_t run = n < RUN ? n : RUN;
        __m128i bytes = zero, before = zero, weighted = zero; /* before: `bytes` summed up at the start of each block */

        n -= run;
        high += low * (uint32_t)(run * BLOCK);
        for (; run > 0; run--, p += BLOCK) {
            __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
            __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + 16));

            before = _mm_add_epi32(before, bytes);
            bytes = _mm_add_epi32(bytes, _mm_add_epi32(_mm_sad_epu8(a, zero), _mm_sad_epu8(b, zero)));
            weighted = _mm_add_epi32(weighted, _mm_madd_epi16(_mm_maddubs_epi16(a, first), ones));
            weighted = _mm_add_epi32(weighted, _mm_madd_epi16(_mm_maddubs_epi16(b, second), ones));
        }
        high = (high + sum_up(before) * BLOCK + sum_up(weighted)) % BASE;
        low = (low + sum_up(bytes)) % BASE;
    }
    return high << 16 | low;
}

uint32_t adler32_fast(uint32_t adler, const uint8_t *p, size_t n)
{
    size_t blocks = n / BLOCK;

    if (blocks > 0 && __builtin_cpu_supports("ssse3")) {
        adler = adler_blocks(adler, p, blocks);
        p += blocks * BLOCK;
        n -= blocks * BLOCK;
    }
    return n ? (uint32_t)adler32_z(adler, p, n) : adler;
}

#else

uint32_t adler32_fast(uint32_t adler, const uint8_t *p, size_t n)
{
    return n ? (uint32_t)adler32_z(adler, p, n) : adler;
}

#endif

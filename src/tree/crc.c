/* crc.c - CRC-32 by carry-less multiplication where the processor has it, by zlib elsewhere and for less than four bytes.
 *
 * Blocks of 16 bytes are folded into one: multiplying by x^n modulo the polynomial moves a block n bits on, and both halves have
 * their constant. What remains is reduced to 32 bits after Barrett. Zeros in front of a message do not count, so that a block may be filled
 * up with them: a path, a small value and a stat each leave a few bytes over, and byte by byte those cost as much as all the rest. All constants are those of the reflected polynomial.
 * Source: Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction, Intel 2009. */
#include "crc.h"

#include <zlib.h>

#define BLOCK 16

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

__attribute__((target("pclmul,sse4.1"))) static __m128i fold(__m128i x, __m128i next, __m128i k)
{
    __m128i low = _mm_clmulepi64_si128(x, k, 0x00), high = _mm_clmulepi64_si128(x, k, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

__attribute__((target("pclmul,sse4.1"))) static uint32_t reduce(__m128i x, __m128i k)
{
    const __m128i low32 = _mm_setr_epi32(-1, 0, -1, 0);
    const __m128i k5 = _mm_set_epi64x(0, 0x163cd6124);
    const __m128i poly_mu = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    /* 128 bits to 96, to 64 */
    x = _mm_xor_si128(_mm_srli_si128(x, 8), _mm_clmulepi64_si128(x, k, 0x10));
    x = _mm_xor_si128(_mm_srli_si128(x, 4), _mm_clmulepi64_si128(_mm_and_si128(x, low32), k5, 0x00));
    /* to 32 */
    __m128i q = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(x, low32), poly_mu, 0x10), low32);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(x, _mm_clmulepi64_si128(q, poly_mu, 0x00)), 1);
}

/* From -16 on: its bytes select (or, where negative, clear) when it is laid over a block at an offset. */
static const int8_t shifts[48] = { -16, -15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1, 0,  1,  2,  3,  4,  5,  6,  7,
                                   8,   9,   10,  11,  12,  13,  14,  15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31 };

/* x stands for all before the last `rest` bytes (1 to 15), which end at `end`, with at least BLOCK bytes before there: the first bytes of x
 * are folded into a block of the others and the rest. */
__attribute__((target("pclmul,sse4.1"))) static __m128i fold_rest(__m128i x, const uint8_t *end, size_t rest, __m128i k)
{
    const __m128i *at = (const __m128i *)(const void *)(shifts + rest);
    __m128i first = _mm_loadu_si128(at), others = _mm_loadu_si128((const __m128i *)(const void *)(shifts + 16 + rest));
    __m128i last = _mm_loadu_si128((const __m128i *)(const void *)(end - BLOCK));
    return fold(_mm_shuffle_epi8(x, first), _mm_blendv_epi8(last, _mm_shuffle_epi8(x, others), first), k);
}

/* n: at least BLOCK. crc without zlib's inversions. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t crc_long(uint32_t crc, const uint8_t *p, size_t n)
{
    const __m128i k1k2 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4); /* 512 bits on */
    const __m128i k3k4 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0); /* 128 bits on */
    const __m128i *b = (const __m128i *)(const void *)p, *end = b + n / BLOCK;
    __m128i x = _mm_xor_si128(_mm_loadu_si128(b++), _mm_cvtsi32_si128((int)crc));
    if (end - b >= 7) { /* four at once, for the length of the pipeline */
        __m128i x1 = _mm_loadu_si128(b), x2 = _mm_loadu_si128(b + 1), x3 = _mm_loadu_si128(b + 2);
        for (b += 3; end - b >= 4; b += 4) {
            x = fold(x, _mm_loadu_si128(b), k1k2);
            x1 = fold(x1, _mm_loadu_si128(b + 1), k1k2);
            x2 = fold(x2, _mm_loadu_si128(b + 2), k1k2);
            x3 = fold(x3, _mm_loadu_si128(b + 3), k1k2);
        }
        x = fold(fold(fold(x, x1, k3k4), x2, k3k4), x3, k3k4);
    }
    while (b < end)
        x = fold(x, _mm_loadu_si128(b++), k3k4);
    if (n % BLOCK != 0)
        x = fold_rest(x, p + n, n % BLOCK, k3k4);
    return reduce(x, k3k4);
}

/* n: 4 to 15. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t crc_short(uint32_t crc, const uint8_t *p, size_t n)
{
    uint8_t block[BLOCK] = { 0 };
    uint32_t first;
    memcpy(&first, p, sizeof(first));
    first ^= crc;
    memcpy(block + BLOCK - n, p, n);
    memcpy(block + BLOCK - n, &first, sizeof(first));
    return reduce(_mm_loadu_si128((const __m128i *)(const void *)block), _mm_set_epi64x(0x0ccaa009e, 0x1751997d0));
}

static bool have_clmul(void)
{
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

uint32_t tree_crc32(uint32_t crc, const void *data, size_t n)
{
    if (n < 4 || !have_clmul())
        return n ? (uint32_t)crc32_z(crc, data, n) : crc;
    return ~(n < BLOCK ? crc_short(~crc, data, n) : crc_long(~crc, data, n));
}

#else

uint32_t tree_crc32(uint32_t crc, const void *p, size_t n)
{
    return n ? (uint32_t)crc32_z(crc, p, n) : crc;
}

#endif

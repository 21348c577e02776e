/* crc.c - CRC-32 by carry-less multiplication where the processor has it, by zlib elsewhere and for what is left over.
 *
 * Blocks of 16 bytes are folded into one: multiplying by x^n modulo the polynomial moves a block n bits on, and both halves have
 * their constant. What remains is reduced to 32 bits after Barrett. All constants are those of the reflected polynomial.
 * Source: Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction, Intel 2009. */
#include "crc.h"

#include <zlib.h>

#define BLOCK 16

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>

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

/* n: a multiple of BLOCK, at least one. crc without zlib's inversions. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t crc_blocks(uint32_t crc, const uint8_t *p, size_t n)
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
    return reduce(x, k3k4);
}

static bool have_clmul(void)
{
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

uint32_t tree_crc32(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
    if (n >= BLOCK && have_clmul()) {
        size_t whole = n & ~(size_t)(BLOCK - 1);
        crc = ~crc_blocks(~crc, p, whole);
        p += whole;
        n -= whole;
    }
    return n ? (uint32_t)crc32_z(crc, p, n) : crc;
}

#else

uint32_t tree_crc32(uint32_t crc, const void *p, size_t n)
{
    return n ? (uint32_t)crc32_z(crc, p, n) : crc;
}

#endif

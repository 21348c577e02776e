/* adler.h - Adler-32, which seals every transaction and snapshot. Any thread. */
#ifndef STORAGE_ADLER_H
#define STORAGE_ADLER_H

#include <stddef.h>
#include <stdint.h>

/* As zlib's adler32_z: goes on from `adler`, which is 1 at the beginning. */
uint32_t adler32_fast(uint32_t adler, const uint8_t *p, size_t n);

#endif

/* crc.h - CRC-32 of zlib's polynomial, fast: every write takes four of them for the tree's digest, and zlib's own took nearly half
 * of the time of a write. */
#ifndef TREE_CRC_H
#define TREE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* As zlib's crc32_z(crc, p, n): begin with 0, go on with the last result. Any thread. */
uint32_t tree_crc32(uint32_t crc, const void *p, size_t n);

#endif

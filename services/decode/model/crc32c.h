#ifndef DECODE_CRC32C_H
#define DECODE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * CRC-32C (Castagnoli; RFC 3720, appendix B.4) of bytes [n], continuing from
 * crc, which is 0 at the start: "123456789" gives 0xe3069283.  With the
 * processor's instruction where it has one, so that a gigabyte takes a fraction
 * of a second.  Any thread.
 */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t n);

/* The same by table alone; what processors without the instruction run. */
uint32_t crc32c_table(uint32_t crc, const void *bytes, size_t n);

#endif

#ifndef DECODE_SNAPSHOT_PARTS_H
#define DECODE_SNAPSHOT_PARTS_H

#include "snapshot.h"

/* What snapshot.c and snapshot_file.c share. */

/* Header and text of a file of *c, to be freed; NULL if memory is short. */
uint8_t *snapshot_encode(const struct session_copy *c,
    const struct snapshot_identity *id, int64_t now_ms, size_t *n);

/* The sums of n pages: 4 * (n + 1) bytes.  False if they are damaged. */
void snapshot_put_sums(const uint32_t *sums, uint64_t n, uint8_t *out);
bool snapshot_get_sums(const uint8_t *bytes, uint64_t n, uint32_t *sums);

#endif

#ifndef DECODE_GPU_MEASURE_H
#define DECODE_GPU_MEASURE_H

#include "gpu_params.h"

/* What the kernels of measure.hip take. */

/* n times 16 bytes, read, copied or filled by n_blocks blocks; of what is read and copied
 * n is a multiple of 8 * GPU_THREADS. */
struct gpu_measure {
	struct gpu_mark mark;
	const uint8_t *from;
	uint8_t *to;
	uint64_t n;
	int32_t n_blocks;
	uint32_t keep, set;	/* of what it is filled with: which bits vary, the others */
};

/* One row and heads of 128 dimensions. */
struct gpu_measure_attention {
	struct gpu_mark mark;
	const uint16_t *q;	/* [n_heads, 128] f16 */
	const uint16_t *keys, *values;	/* [n_kv_heads, n, 128] f16 */
	float *out;		/* [n_heads, 128] */
	int32_t n_heads, n_kv_heads;
	int32_t n;
	int32_t n_threads;	/* of a block: 128 or 256 */
	float factor;
};

#endif

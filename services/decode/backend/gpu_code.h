#ifndef DECODE_BACKEND_GPU_CODE_H
#define DECODE_BACKEND_GPU_CODE_H

#include <stdbool.h>

/* The kernels, compiled for one kind of device and put into this binary. */
struct gpu_code {
	const char *name;	/* "gfx1151" */
	bool cuda;		/* for CUDA's driver, else for HIP */
	const char *begin;	/* the code object */
};

extern const struct gpu_code gpu_codes[];	/* ends with { 0 } */

#endif

#ifndef DECODE_BACKEND_GPU_MODULE_H
#define DECODE_BACKEND_GPU_MODULE_H

#include "backend/gpu_driver.h"
#include "err.h"

/* The kernels of this build on a device. */

/* The first code object that the current device takes; d->module_unload lets it go.
 * device_name is for the sentence.  ERR_NOT_FOUND: it takes none. */
int gpu_module_load(const struct gpu_driver *d, const char *device_name, void **module,
    struct err *e);

enum { GPU_NOT_FOUND = 500 };

/* A kernel of it by its name, which may have GPU_SMEM_MAX bytes of shared memory, and with
 * CUDA GPU_CUDA_SMEM.  0 or a code of the runtime: GPU_NOT_FOUND for one that it does not
 * have, and *kernel is NULL. */
int gpu_module_kernel(const struct gpu_driver *d, void *module, const char *name,
    void **kernel);

#endif

#ifndef DECODE_BACKEND_GPU_DRIVER_H
#define DECODE_BACKEND_GPU_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/*
 * The functions of the HIP runtime, found when the service starts and not when it is
 * linked, so that one binary serves machines with and without a GPU.  One list makes the
 * struct and the dlsym calls; CUDA's driver has the same functions under other names, and
 * a build with GPU_VALIDATE takes them where there is no AMD device.  No struct of the
 * runtime is used: their layouts change from version to version.
 *
 * All return 0 or an error code that gpu_driver_error names.
 */
#define GPU_FUNCTIONS(F)                                                              \
	F(init, hipInit, cuInit, unsigned flags)                                      \
	F(device_count, hipGetDeviceCount, cuDeviceGetCount, int *n)                  \
	F(device_get, hipDeviceGet, cuDeviceGet, int *device, int i)                  \
	F(device_name, hipDeviceGetName, cuDeviceGetName, char *name, int n, int device) \
	F(device_attribute, hipDeviceGetAttribute, cuDeviceGetAttribute, int *value,  \
	    int attribute, int device)                                                \
	F(occupancy, hipModuleOccupancyMaxActiveBlocksPerMultiprocessor,              \
	    cuOccupancyMaxActiveBlocksPerMultiprocessor, int *n, void *function,      \
	    int threads, size_t shared)                                               \
	F(version, hipRuntimeGetVersion, cuDriverGetVersion, int *version)            \
	F(mem_info, hipMemGetInfo, cuMemGetInfo_v2, size_t *free, size_t *total)      \
	F(mem_alloc, hipMalloc, cuMemAlloc_v2, void **p, size_t n)                    \
	F(mem_free, hipFree, cuMemFree_v2, void *p)                                   \
	F(host_alloc, hipHostMalloc, cuMemHostAlloc, void **p, size_t n, unsigned flags) \
	F(host_free, hipHostFree, cuMemFreeHost, void *p)                             \
	F(to_device, hipMemcpyHtoD, cuMemcpyHtoD_v2, void *to, const void *from, size_t n) \
	F(to_host, hipMemcpyDtoH, cuMemcpyDtoH_v2, void *to, const void *from, size_t n) \
	F(to_device_async, hipMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, void *to,        \
	    const void *from, size_t n, void *stream)                                 \
	F(to_host_async, hipMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, void *to,          \
	    const void *from, size_t n, void *stream)                                 \
	F(fill_async, hipMemsetD8Async, cuMemsetD8Async, void *to, unsigned char value, \
	    size_t n, void *stream)                                                   \
	F(stream_create, hipStreamCreateWithFlags, cuStreamCreate, void **stream,     \
	    unsigned flags)                                                           \
	F(stream_destroy, hipStreamDestroy, cuStreamDestroy_v2, void *stream)         \
	F(stream_wait, hipStreamSynchronize, cuStreamSynchronize, void *stream)       \
	F(capture_begin, hipStreamBeginCapture, cuStreamBeginCapture_v2, void *stream, \
	    int mode)                                                                 \
	F(capture_end, hipStreamEndCapture, cuStreamEndCapture, void *stream,         \
	    void **graph)                                                             \
	F(graph_make, hipGraphInstantiateWithFlags, cuGraphInstantiateWithFlags,      \
	    void **exec, void *graph, unsigned long long flags)                       \
	F(graph_launch, hipGraphLaunch, cuGraphLaunch, void *exec, void *stream)      \
	F(graph_free, hipGraphDestroy, cuGraphDestroy, void *graph)                   \
	F(exec_free, hipGraphExecDestroy, cuGraphExecDestroy, void *exec)             \
	F(module_load, hipModuleLoadData, cuModuleLoadData, void **module,            \
	    const void *image)                                                        \
	F(module_unload, hipModuleUnload, cuModuleUnload, void *module)               \
	F(module_function, hipModuleGetFunction, cuModuleGetFunction, void **function, \
	    void *module, const char *name)                                           \
	F(launch, hipModuleLaunchKernel, cuLaunchKernel, void *function,              \
	    unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,      \
	    unsigned block_y, unsigned block_z, unsigned shared, void *stream,        \
	    void **params, void **extra)                                              \
	F(event_create, hipEventCreateWithFlags, cuEventCreate, void **event,         \
	    unsigned flags)                                                           \
	F(event_record, hipEventRecord, cuEventRecord, void *event, void *stream)     \
	F(event_wait, hipEventSynchronize, cuEventSynchronize, void *event)           \
	F(event_time, hipEventElapsedTime, cuEventElapsedTime, float *ms,             \
	    void *begin, void *end)                                                   \
	F(event_free, hipEventDestroy, cuEventDestroy_v2, void *event)

enum { GPU_NO_MEMORY = 2 };	/* the same code in both */

struct gpu_driver {
	void *lib;
	bool cuda;
#define F(member, hip, cuda, ...) int (*member)(__VA_ARGS__);
	GPU_FUNCTIONS(F)
#undef F
	/* hipSetDevice; or a context, retained, and cuCtxSetCurrent. */
	int (*set_device)(int device);
	int (*context_retain)(void **context, int device);
	int (*context_release)(int device);
	int (*context_set)(void *context);
	/* cuFuncSetAttribute: CUDA wants to be asked for more than 48 KiB. */
	int (*function_set)(void *function, int attribute, int value);
	/* cuLaunchKernelEx: a kernel that may begin before the last one has ended. */
	int (*launch_ex)(const void *config, void *function, void **params, void **extra);
	const char *(*error_name)(int code);			/* HIP */
	int (*error_name_into)(int code, const char **name);	/* CUDA */
	void *context;
	int device;		/* handle of the one that was chosen */
};

/*
 * Load the runtime and choose device number ordinal of it, which is current for
 * this thread then.  ERR_NOT_FOUND: no runtime, none that can be loaded and has all the
 * functions, no device, no device of this number; the sentence begins with "no GPU: ".
 * ERR_SYSTEM for anything else that fails.
 */
int gpu_driver_open(struct gpu_driver *d, int ordinal, struct err *e);
void gpu_driver_close(struct gpu_driver *d);

/* The device's multiprocessors.  0, or ERR_SYSTEM. */
int gpu_driver_processors(const struct gpu_driver *d, int *n, struct err *e);

/* Make the device current for the calling thread. */
int gpu_driver_use(struct gpu_driver *d, struct err *e);

/* One kernel, after those launched before: blocks of threads x 1 x 1. */
int gpu_driver_launch(const struct gpu_driver *d, void *function, const unsigned grid[3],
    unsigned threads, unsigned shared, void *stream, void *params);

/* The runtime's name of an error. */
const char *gpu_driver_error(const struct gpu_driver *d, int code);

#endif

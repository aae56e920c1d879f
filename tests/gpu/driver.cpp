/*
 * libamdhip64 (or libcuda, with EMULATE_CUDA) as far as bitnet_decode uses it, over
 * the emulator.  Everything is done at once, so a stream is a formality and a graph a
 * list.  Memory of the device is memory with a guard behind it.  From the environment:
 *
 *	EMULATED_FAIL=name:n	the n-th call of that function fails
 *	EMULATED_MEMORY=bytes	that the device has (4 GiB)
 *	EMULATED_DEVICES=n	(1)
 */
#include "emulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <map>
#include <string>
#include <vector>

#ifdef EMULATE_CUDA
#define NAME(hip, cuda) cuda
enum { NO_DEVICE = 100, NO_BINARY = 209, NOT_FOUND = 500, NO_MEMORY = 2, FAULT = 700 };
static const char *const error_text = "CUDA_ERROR_EMULATED";
#else
#define NAME(hip, cuda) hip
enum { NO_DEVICE = 100, NO_BINARY = 209, NOT_FOUND = 500, NO_MEMORY = 2, FAULT = 700 };
static const char *const error_text = "hipErrorEmulated";
#endif

namespace {

struct launch {
	const emulated_kernel *k;
	int grid[3], threads;
	size_t shared;
	std::vector<unsigned char> params;
};

struct copy {
	void *to;
	const void *from;
	size_t n;
	int value;		/* from NULL: filled with it */
};

struct node {
	bool is_copy;
	launch l;
	copy c;
};

using graph = std::vector<node>;
graph *recorded;		/* while a stream is captured */
std::map<void *, size_t> memory;
size_t in_use;
int dead;			/* a fault stays */

const unsigned char guard[64] = { 0xfe, 0xed, 0xfa, 0xce };

int
call(const char *name)
{
	static std::map<std::string, int> calls;
	const char *fail = getenv("EMULATED_FAIL");
	size_t n = strlen(name);

	if (dead != 0)
		return dead;
	if (fail != nullptr && strncmp(fail, name, n) == 0 && fail[n] == ':' &&
	    ++calls[name] == atoi(fail + n + 1)) {
		dead = FAULT;
		return dead;
	}
	return 0;
}

size_t
memory_size()
{
	const char *s = getenv("EMULATED_MEMORY");

	return s != nullptr ? strtoull(s, nullptr, 10) : (size_t)4 << 30;
}

int
n_devices()
{
	const char *s = getenv("EMULATED_DEVICES");

	return s != nullptr ? atoi(s) : 1;
}

void
check_guard(void *p, size_t n)
{
	if (memcmp((char *)p + n, guard, sizeof(guard)) == 0)
		return;
	fprintf(stderr, "emulator: something was written past %zu bytes\n", n);
	abort();
}

void
run(const node &n)
{
	if (!n.is_copy)
		emulated_launch(n.l.k, n.l.grid, n.l.threads, n.l.shared, n.l.params.data());
	else if (n.c.from != nullptr)
		memcpy(n.c.to, n.c.from, n.c.n);
	else
		memset(n.c.to, n.c.value, n.c.n);
}

int
submit(node n)
{
	if (recorded != nullptr)
		recorded->push_back(n);
	else
		run(n);
	return 0;
}

int
submit_copy(void *to, const void *from, size_t size, int value)
{
	node n = {};

	n.is_copy = true;
	n.c = { to, from, size, value };
	return submit(n);
}

/* An ELF file of a device: does it say the one that is emulated? */
bool
is_ours(const void *image)
{
	const unsigned char *b = (const unsigned char *)image;
	uint32_t flags;

	if (memcmp(b, "\177ELF", 4) != 0)
		return false;
	memcpy(&flags, b + 48, sizeof(flags));
#if defined(EMULATE_SM90)
	return true;
#elif defined(EMULATE_GFX11)
	return (flags & 255) == 0x4a;	/* EF_AMDGPU_MACH of gfx1151 */
#else
	return (flags & 255) == 0x4e;	/* of gfx1201 */
#endif
}

}

#define BEGIN(name) do { int r_ = call(name); if (r_ != 0) return r_; } while (0)
#define API extern "C" __attribute__((visibility("default"))) int

API NAME(hipInit, cuInit)(unsigned)
{
	BEGIN("init");
	return n_devices() > 0 ? 0 : NO_DEVICE;
}

API NAME(hipGetDeviceCount, cuDeviceGetCount)(int *n)
{
	BEGIN("count");
	*n = n_devices();
	return *n > 0 ? 0 : NO_DEVICE;
}

API NAME(hipDeviceGet, cuDeviceGet)(int *device, int i)
{
	BEGIN("device");
	*device = i;
	return i >= 0 && i < n_devices() ? 0 : 101;
}

API NAME(hipDeviceGetName, cuDeviceGetName)(char *name, int n, int)
{
	BEGIN("name");
	snprintf(name, (size_t)n, "Emulated device");
	return 0;
}

API NAME(hipDeviceGetAttribute, cuDeviceGetAttribute)(int *v, int, int)
{
	BEGIN("attribute");
	*v = EMULATED_PROCESSORS;
	return 0;
}

API NAME(hipModuleOccupancyMaxActiveBlocksPerMultiprocessor,
    cuOccupancyMaxActiveBlocksPerMultiprocessor)(int *n, void *, int, size_t)
{
	BEGIN("occupancy");
	*n = 1;
	return 0;
}

API NAME(hipRuntimeGetVersion, cuDriverGetVersion)(int *v)
{
	BEGIN("version");
	*v = 70200000;
	return 0;
}

#ifdef EMULATE_CUDA
API cuDevicePrimaryCtxRetain(void **context, int) { *context = &dead; return call("context"); }
API cuDevicePrimaryCtxRelease_v2(int) { return 0; }
API cuCtxSetCurrent(void *) { return call("current"); }
API cuFuncSetAttribute(void *, int, int) { return call("attribute"); }
API cuGetErrorName(int, const char **name) { *name = error_text; return 0; }
#else
API hipSetDevice(int) { return call("current"); }
extern "C" __attribute__((visibility("default"))) const char *
hipGetErrorName(int) { return error_text; }
#endif

API NAME(hipMemGetInfo, cuMemGetInfo_v2)(size_t *free, size_t *total)
{
	BEGIN("info");
	*total = memory_size();
	*free = *total - in_use;
	return 0;
}

API NAME(hipMalloc, cuMemAlloc_v2)(void **p, size_t n)
{
	BEGIN("alloc");
	if (n > memory_size() - in_use)
		return NO_MEMORY;
	if (posix_memalign(p, 256, n + sizeof(guard)) != 0)
		return NO_MEMORY;
	memset(*p, 0xcd, n);
	memcpy((char *)*p + n, guard, sizeof(guard));
	memory[*p] = n;
	in_use += n;
	return 0;
}

API NAME(hipFree, cuMemFree_v2)(void *p)
{
	auto m = memory.find(p);

	if (p == nullptr)
		return 0;
	if (m == memory.end())
		abort();
	check_guard(p, m->second);
	in_use -= m->second;
	memory.erase(m);
	free(p);
	return 0;
}

API NAME(hipHostMalloc, cuMemHostAlloc)(void **p, size_t n, unsigned)
{
	BEGIN("host");
	*p = calloc(1, n);
	return *p != nullptr ? 0 : NO_MEMORY;
}

API NAME(hipHostFree, cuMemFreeHost)(void *p)
{
	free(p);
	return 0;
}

API NAME(hipMemcpyHtoD, cuMemcpyHtoD_v2)(void *to, const void *from, size_t n)
{
	BEGIN("copy");
	memcpy(to, from, n);
	return 0;
}

API NAME(hipMemcpyDtoH, cuMemcpyDtoH_v2)(void *to, const void *from, size_t n)
{
	BEGIN("copy");
	memcpy(to, from, n);
	return 0;
}

API NAME(hipMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2)(void *to, const void *from, size_t n, void *)
{
	BEGIN("copy");
	return submit_copy(to, from, n, 0);
}

API NAME(hipMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2)(void *to, const void *from, size_t n, void *)
{
	BEGIN("copy");
	return submit_copy(to, from, n, 0);
}

API NAME(hipMemsetD8Async, cuMemsetD8Async)(void *to, unsigned char value, size_t n, void *)
{
	BEGIN("set");
	return submit_copy(to, nullptr, n, value);
}

API NAME(hipStreamCreateWithFlags, cuStreamCreate)(void **s, unsigned)
{
	BEGIN("stream");
	*s = &dead;
	return 0;
}

API NAME(hipStreamDestroy, cuStreamDestroy_v2)(void *) { return 0; }
API NAME(hipStreamSynchronize, cuStreamSynchronize)(void *) { return call("synchronize"); }

API NAME(hipStreamBeginCapture, cuStreamBeginCapture_v2)(void *, int)
{
	BEGIN("capture");
	recorded = new graph;
	return 0;
}

API NAME(hipStreamEndCapture, cuStreamEndCapture)(void *, void **g)
{
	BEGIN("captured");
	*g = recorded;
	recorded = nullptr;
	return 0;
}

API NAME(hipGraphInstantiateWithFlags, cuGraphInstantiateWithFlags)(void **exec, void *g,
    unsigned long long)
{
	BEGIN("instantiate");
	*exec = new graph(*(graph *)g);
	return 0;
}

API NAME(hipGraphLaunch, cuGraphLaunch)(void *exec, void *)
{
	BEGIN("graph");
	for (const node &n : *(graph *)exec)
		run(n);
	return 0;
}

API NAME(hipGraphDestroy, cuGraphDestroy)(void *g) { delete (graph *)g; return 0; }
API NAME(hipGraphExecDestroy, cuGraphExecDestroy)(void *g) { delete (graph *)g; return 0; }

API NAME(hipModuleLoadData, cuModuleLoadData)(void **m, const void *image)
{
	BEGIN("load");
	*m = &dead;
	return is_ours(image) ? 0 : NO_BINARY;
}

API NAME(hipModuleUnload, cuModuleUnload)(void *) { return 0; }

API NAME(hipModuleGetFunction, cuModuleGetFunction)(void **f, void *, const char *name)
{
	BEGIN("function");
	for (const emulated_kernel *k = emulated_kernels; k != nullptr; k = k->next)
		if (strcmp(k->name, name) == 0) {
			*f = (void *)k;
			return 0;
		}
	return NOT_FOUND;
}

API NAME(hipModuleLaunchKernel, cuLaunchKernel)(void *f, unsigned gx, unsigned gy, unsigned gz,
    unsigned bx, unsigned by, unsigned bz, unsigned shared, void *, void **params, void **)
{
	const emulated_kernel *k = (const emulated_kernel *)f;
	const unsigned char *p = (const unsigned char *)params[0];
	node n = {};

	BEGIN("launch");
	if (gx == 0 || gy == 0 || gz == 0 || by != 1 || bz != 1)
		return 1;
	n.l = { k, { (int)gx, (int)gy, (int)gz }, (int)bx, shared, { p, p + k->size } };
	return submit(n);
}

API NAME(hipEventCreateWithFlags, cuEventCreate)(void **e, unsigned) { *e = &dead; return 0; }
API NAME(hipEventRecord, cuEventRecord)(void *, void *) { return call("event"); }
API NAME(hipEventSynchronize, cuEventSynchronize)(void *) { return 0; }
API NAME(hipEventDestroy, cuEventDestroy_v2)(void *) { return 0; }

API NAME(hipEventElapsedTime, cuEventElapsedTime)(float *ms, void *, void *)
{
	*ms = 0.001f;
	return 0;
}

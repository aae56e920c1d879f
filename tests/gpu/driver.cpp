/*
 * libamdhip64 as far as bitnet_decode uses it, over the emulator.  Everything is done at
 * once, so a stream is a formality and a graph a list.  Memory of the device is memory with
 * a guard behind it, and what a call is given has to be of the device that is current.  From
 * the environment:
 *
 *	EMULATED_FAIL=name:n	the n-th call of that function fails (any:n: of all of them),
 *				and so does everything after it; with :once behind it it does
 *				not
 *	EMULATED_MEMORY=bytes	that a device has (4 GiB)
 *	EMULATED_DEVICES=n	(1)
 */
#include "emulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <map>
#include <mutex>
#include <string>
#include <vector>

enum { NO_DEVICE = 100, WRONG_DEVICE = 101, NO_BINARY = 209, NOT_FOUND = 500, NO_MEMORY = 2 };
enum { WRONG_VALUE = 1, FAULT = 700, DEVICES_MAX = 4 };

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

struct block {
	size_t n;
	int device;
};

/* Anything else that belongs to a device: stream, module, event. */
struct object {
	int device;
};

struct recording {
	int device;
	graph nodes;
};

recording *recorded;		/* while a stream is captured */
std::map<char *, block> memory;
size_t in_use[DEVICES_MAX];
int n_held;			/* what was made and not let go, but for memory */
int dead;			/* a fault stays */
std::vector<const char *> called;
std::map<std::string, int> calls;
char failed[32];		/* what the fault was put into */
std::mutex lock;		/* pages are copied while passes run */
thread_local int current;

const unsigned char guard[64] = { 0xfe, 0xed, 0xfa, 0xce };

void
stop(const char *what)
{
	fprintf(stderr, "emulator: %s\n", what);
	abort();
}

int
call(const char *name)
{
	std::lock_guard<std::mutex> hold(lock);
	const char *fail = getenv("EMULATED_FAIL");
	size_t n = strlen(name);
	int at = ++calls[name];

	called.push_back(name);
	if (dead != 0 || fail == nullptr)
		return dead;
	if (strncmp(fail, "any:", 4) == 0) {
		at = (int)called.size();
		fail += 4;
	} else if (strncmp(fail, name, n) == 0 && fail[n] == ':') {
		fail += n + 1;
	} else {
		return 0;
	}
	if (at != atoi(fail))
		return 0;
	snprintf(failed, sizeof(failed), "%s", name);
	if (strstr(fail, ":once") == nullptr)
		dead = FAULT;
	return FAULT;
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
	int n = s != nullptr ? atoi(s) : 1;

	return n < DEVICES_MAX ? n : (int)DEVICES_MAX;
}

void
check_guard(const char *p, size_t n)
{
	if (memcmp(p + n, guard, sizeof(guard)) != 0)
		stop("something was written past a piece of memory");
}

/* n bytes from p on are of the current device. */
void
check_memory(const void *v, size_t n)
{
	std::lock_guard<std::mutex> hold(lock);
	const char *p = (const char *)v;
	auto m = memory.upper_bound((char *)v);

	if (m == memory.begin())
		stop("a copy from or to what is no memory of a device");
	m--;
	if (p + n > m->first + m->second.n)
		stop("a copy past the end of a piece of memory");
	if (m->second.device != current)
		stop("a copy from or to memory of another device");
}

void *
make()
{
	n_held++;
	return new object{ current };
}

int
let_go(void *o)
{
	n_held--;
	delete (object *)o;
	return 0;
}

/* NULL is the stream that every device has. */
void
check_object(const void *o)
{
	if (o != nullptr && ((const object *)o)->device != current)
		stop("a stream, module or event of another device");
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
submit(const node &n, void *stream)
{
	check_object(stream);
	if (recorded != nullptr)
		recorded->nodes.push_back(n);
	else
		run(n);
	return 0;
}

int
submit_copy(void *to, const void *from, size_t size, int value, void *stream)
{
	node n = {};

	n.is_copy = true;
	n.c = { to, from, size, value };
	return submit(n, stream);
}

int
free_graph(recording *g)
{
	n_held--;
	delete g;
	return 0;
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
	/* EF_AMDGPU_MACH of gfx1151, which stands for sm_90, too, and of gfx1201. */
#if defined(EMULATE_GFX12)
	return (flags & 255) == 0x4e;
#else
	return (flags & 255) == 0x4a;
#endif
}

}

#define BEGIN(name) do { int r_ = call(name); if (r_ != 0) return r_; } while (0)
#define EXPORT extern "C" __attribute__((visibility("default")))
#define API EXPORT int
#define TEXT_API EXPORT const char *

/* For tests, which find these by dlsym: begin to count anew, with nothing failed; how many
 * calls there were; how much is not let go; what was called i-th, from 1; the call that
 * EMULATED_FAIL hit, or "". */
EXPORT void
emulated_begin()
{
	std::lock_guard<std::mutex> hold(lock);

	dead = 0;
	called.clear();
	calls.clear();
	failed[0] = '\0';
}

API emulated_calls() { return (int)called.size(); }
API emulated_held() { return n_held + (int)memory.size(); }
TEXT_API emulated_call(int i) { return called[(size_t)i - 1]; }
TEXT_API emulated_failed() { return failed; }

API
hipInit(unsigned)
{
	BEGIN("init");
	return n_devices() > 0 ? 0 : NO_DEVICE;
}

API
hipGetDeviceCount(int *n)
{
	BEGIN("count");
	*n = n_devices();
	return *n > 0 ? 0 : NO_DEVICE;
}

API
hipDeviceGet(int *device, int i)
{
	BEGIN("device");
	*device = i;
	return i >= 0 && i < n_devices() ? 0 : WRONG_DEVICE;
}

API
hipDeviceGetName(char *name, int n, int device)
{
	BEGIN("name");
	snprintf(name, (size_t)n, device == 0 ? "Emulated device" : "Emulated device %d", device);
	return 0;
}

API
hipDeviceGetAttribute(int *v, int, int)
{
	BEGIN("attribute");
	*v = EMULATED_PROCESSORS;
	return 0;
}

API
hipModuleOccupancyMaxActiveBlocksPerMultiprocessor(int *n, void *, int, size_t)
{
	BEGIN("occupancy");
	*n = 1;
	return 0;
}

API
hipRuntimeGetVersion(int *v)
{
	BEGIN("version");
	*v = 70200000;
	return 0;
}

API
hipSetDevice(int device)
{
	BEGIN("current");
	if (device < 0 || device >= n_devices())
		return WRONG_DEVICE;
	current = device;
	return 0;
}

TEXT_API
hipGetErrorName(int code)
{
	return code == NO_DEVICE ? "hipErrorNoDevice" : code == NO_BINARY ?
	    "hipErrorNoBinaryForGpu" : "hipErrorEmulated";
}

API
hipMemGetInfo(size_t *free, size_t *total)
{
	BEGIN("info");
	*total = memory_size();
	*free = *total - in_use[current];
	return 0;
}

API
hipMalloc(void **p, size_t n)
{
	BEGIN("alloc");
	if (n > memory_size() - in_use[current] ||
	    posix_memalign(p, 256, n + sizeof(guard)) != 0)
		return NO_MEMORY;
	memset(*p, 0xcd, n);
	memcpy((char *)*p + n, guard, sizeof(guard));
	std::lock_guard<std::mutex> hold(lock);
	memory[(char *)*p] = { n, current };
	in_use[current] += n;
	return 0;
}

API
hipFree(void *p)
{
	int r = call("free");
	std::lock_guard<std::mutex> hold(lock);
	auto m = memory.find((char *)p);

	if (p == nullptr)
		return r;
	if (m == memory.end())
		stop("what is freed is no memory of a device");
	check_guard(m->first, m->second.n);
	in_use[m->second.device] -= m->second.n;
	memory.erase(m);
	free(p);
	return r;
}

API
hipHostMalloc(void **p, size_t n, unsigned)
{
	BEGIN("host");
	*p = calloc(1, n);
	n_held++;
	return *p != nullptr ? 0 : NO_MEMORY;
}

API
hipHostFree(void *p)
{
	n_held--;
	free(p);
	return call("free");
}

API
hipMemcpyHtoD(void *to, const void *from, size_t n)
{
	BEGIN("copy");
	check_memory(to, n);
	memcpy(to, from, n);
	return 0;
}

API
hipMemcpyDtoH(void *to, const void *from, size_t n)
{
	BEGIN("copy");
	check_memory(from, n);
	memcpy(to, from, n);
	return 0;
}

API
hipMemcpyHtoDAsync(void *to, const void *from, size_t n, void *stream)
{
	BEGIN("copy");
	check_memory(to, n);
	return submit_copy(to, from, n, 0, stream);
}

API
hipMemcpyDtoHAsync(void *to, const void *from, size_t n, void *stream)
{
	BEGIN("copy");
	check_memory(from, n);
	return submit_copy(to, from, n, 0, stream);
}

API
hipMemsetD8Async(void *to, unsigned char value, size_t n, void *stream)
{
	BEGIN("set");
	check_memory(to, n);
	return submit_copy(to, nullptr, n, value, stream);
}

API
hipStreamCreateWithFlags(void **s, unsigned)
{
	BEGIN("stream");
	*s = make();
	return 0;
}

/* A recording that was never ended goes with it. */
API
hipStreamDestroy(void *s)
{
	if (recorded != nullptr)
		free_graph(recorded);
	recorded = nullptr;
	let_go(s);
	return call("free");
}

API
hipStreamSynchronize(void *s)
{
	BEGIN("synchronize");
	check_object(s);
	return 0;
}

API
hipStreamBeginCapture(void *s, int)
{
	BEGIN("capture");
	check_object(s);
	n_held++;
	recorded = new recording{ current, {} };
	return 0;
}

API
hipStreamEndCapture(void *, void **g)
{
	BEGIN("captured");
	*g = recorded;
	recorded = nullptr;
	return 0;
}

API
hipGraphInstantiateWithFlags(void **exec, void *g, unsigned long long)
{
	BEGIN("instantiate");
	n_held++;
	*exec = new recording(*(recording *)g);
	return 0;
}

API
hipGraphLaunch(void *exec, void *stream)
{
	recording *g = (recording *)exec;

	BEGIN("graph");
	check_object(stream);
	if (g->device != current)
		stop("a graph of another device");
	for (const node &n : g->nodes)
		run(n);
	return 0;
}

API
hipGraphDestroy(void *g)
{
	free_graph((recording *)g);
	return call("free");
}

API
hipGraphExecDestroy(void *g)
{
	free_graph((recording *)g);
	return call("free");
}

API
hipModuleLoadData(void **m, const void *image)
{
	BEGIN("load");
	if (!is_ours(image))
		return NO_BINARY;
	*m = make();
	return 0;
}

API
hipModuleUnload(void *m)
{
	let_go(m);
	return call("free");
}

API
hipModuleGetFunction(void **f, void *m, const char *name)
{
	BEGIN("function");
	check_object(m);
	for (const emulated_kernel *k = emulated_kernels; k != nullptr; k = k->next)
		if (strcmp(k->name, name) == 0) {
			*f = (void *)k;
			return 0;
		}
	return NOT_FOUND;
}

API
hipModuleLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
    unsigned bz, unsigned shared, void *stream, void **params, void **)
{
	const emulated_kernel *k = (const emulated_kernel *)f;
	const unsigned char *p = (const unsigned char *)params[0];
	node n = {};

	BEGIN("launch");
	if (gx == 0 || gy == 0 || gz == 0 || by != 1 || bz != 1)
		return WRONG_VALUE;
	n.l = { k, { (int)gx, (int)gy, (int)gz }, (int)bx, shared, { p, p + k->size } };
	return submit(n, stream);
}

API
hipEventCreateWithFlags(void **e, unsigned)
{
	BEGIN("event");
	*e = make();
	return 0;
}

API
hipEventRecord(void *e, void *stream)
{
	BEGIN("record");
	check_object(e);
	check_object(stream);
	return 0;
}

API hipEventSynchronize(void *) { return call("event wait"); }

API
hipEventDestroy(void *e)
{
	let_go(e);
	return call("free");
}

API
hipEventElapsedTime(float *ms, void *, void *)
{
	BEGIN("elapsed");
	*ms = 0.001f;
	return 0;
}

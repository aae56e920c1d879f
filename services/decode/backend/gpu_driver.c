/*
 * Newest library first; the name without a number comes with a development package.
 * A runtime without a device is let go, since it is large.
 */
#include "backend/gpu_driver.h"

#include <dlfcn.h>
#include <string.h>

static const char *const hip_libraries[] = {
	"libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5",
	"libamdhip64.so", NULL,
};

#ifdef GPU_VALIDATE
static const char *const cuda_libraries[] = { "libcuda.so.1", NULL };
#endif

/* What a runtime without a device leaves behind is no leak of ours, but the leak
 * checker could not tell whose it is. */
#ifdef __SANITIZE_ADDRESS__
enum { KEEP = RTLD_NODELETE };
#else
enum { KEEP = 0 };
#endif

static int
find(void *lib, const char *name, void *function, struct err *e)
{
	void *symbol = dlsym(lib, name);

	if (symbol == NULL)
		return err_set(e, ERR_NOT_FOUND, "no GPU: its runtime is too old: it "
		    "has no %s", name);
	memcpy(function, &symbol, sizeof(symbol));
	return 0;
}

static int
find_all(struct gpu_driver *d, struct err *e)
{
	int r;

#define F(member, hip, cu, ...)                                                     \
	if ((r = find(d->lib, d->cuda ? #cu : #hip, &d->member, e)) != 0)         \
		return r;
	GPU_FUNCTIONS(F)
#undef F
	if (!d->cuda) {
		if ((r = find(d->lib, "hipSetDevice", &d->set_device, e)) != 0)
			return r;
		return find(d->lib, "hipGetErrorName", &d->error_name, e);
	}
	if ((r = find(d->lib, "cuDevicePrimaryCtxRetain", &d->context_retain, e)) != 0 ||
	    (r = find(d->lib, "cuDevicePrimaryCtxRelease_v2", &d->context_release,
	    e)) != 0 ||
	    (r = find(d->lib, "cuCtxSetCurrent", &d->context_set, e)) != 0 ||
	    (r = find(d->lib, "cuFuncSetAttribute", &d->function_set, e)) != 0 ||
	    (r = find(d->lib, "cuLaunchKernelEx", &d->launch_ex, e)) != 0)
		return r;
	return find(d->lib, "cuGetErrorName", &d->error_name_into, e);
}

/* CUlaunchConfig with one CUlaunchAttribute, of CUDA 12 and later. */
struct launch_attribute {
	int id;
	char pad[4];
	union {
		char bytes[64];
		int allowed;
	} value;
};

struct launch_config {
	unsigned grid[3], block[3], shared;
	void *stream;
	struct launch_attribute *attributes;
	unsigned n_attributes;
};

enum { PROGRAMMATIC_STREAM_SERIALIZATION = 6 };

int
gpu_driver_launch(const struct gpu_driver *d, void *function, const unsigned grid[3],
    unsigned threads, unsigned shared, void *stream, void *params)
{
	struct launch_attribute early = { .id = PROGRAMMATIC_STREAM_SERIALIZATION,
		.value.allowed = 1 };
	struct launch_config c = { .grid = { grid[0], grid[1], grid[2] },
		.block = { threads, 1, 1 }, .shared = shared, .stream = stream,
		.attributes = &early, .n_attributes = 1 };
	void *list[] = { params };

	if (d->cuda)
		return d->launch_ex(&c, function, list, NULL);
	return d->launch(function, grid[0], grid[1], grid[2], threads, 1, 1, shared,
	    stream, list, NULL);
}

const char *
gpu_driver_error(const struct gpu_driver *d, int code)
{
	const char *name = NULL;

	if (d->cuda)
		d->error_name_into(code, &name);
	else
		name = d->error_name(code);
	return name != NULL ? name : "unknown error";
}

int
gpu_driver_use(struct gpu_driver *d, struct err *e)
{
	int r = d->cuda ? d->context_set(d->context) : d->set_device(d->device);

	return r == 0 ? 0 : err_set(e, ERR_SYSTEM, "GPU: it cannot be used: %s",
	    gpu_driver_error(d, r));
}

int
gpu_driver_processors(const struct gpu_driver *d, int *n, struct err *e)
{
	/* hipDeviceAttributeMultiprocessorCount, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT */
	int r = d->device_attribute(n, d->cuda ? 16 : 63, d->device);

	return r == 0 ? 0 : err_set(e, ERR_SYSTEM, "GPU: it does not say how many "
	    "multiprocessors it has: %s", gpu_driver_error(d, r));
}

static int
choose(struct gpu_driver *d, int ordinal, struct err *e)
{
	int n = 0, r;

	/* Without a device both fail, each in its own way. */
	if ((r = d->init(0)) != 0 || (r = d->device_count(&n)) != 0 || n == 0)
		return err_set(e, ERR_NOT_FOUND, "no GPU: the %s is installed and sees "
		    "no device%s%.60s", d->cuda ? "CUDA driver" : "HIP runtime",
		    r != 0 ? ": " : "", r != 0 ? gpu_driver_error(d, r) : "");
	if (ordinal < 0 || ordinal >= n)
		return err_set(e, ERR_NOT_FOUND, "no GPU: there is no device %d; there "
		    "%s %d", ordinal, n == 1 ? "is" : "are", n);
	if ((r = d->device_get(&d->device, ordinal)) != 0 ||
	    (d->cuda && (r = d->context_retain(&d->context, d->device)) != 0))
		return err_set(e, ERR_SYSTEM, "GPU: device %d cannot be opened: %s",
		    ordinal, gpu_driver_error(d, r));
	return gpu_driver_use(d, e);
}

/* The first of names that is there.  One that is and cannot be loaded is not the same as
 * none: the first word of what dlerror says is the file that was looked for. */
static int
load(struct gpu_driver *d, const char *const *names, struct err *e)
{
	int r = err_set(e, ERR_NOT_FOUND, "no GPU: the HIP runtime (libamdhip64) is not "
	    "installed");
	bool told = false;

	for (; *names != NULL; names++) {
		const char *why;
		size_t n = strlen(*names);

		if ((d->lib = dlopen(*names, RTLD_NOW | RTLD_LOCAL | KEEP)) != NULL)
			return 0;
		why = dlerror();
		if (told || why == NULL || (strncmp(why, *names, n) == 0 && why[n] == ':'))
			continue;
		r = err_set(e, ERR_NOT_FOUND, "no GPU: %s cannot be loaded: %.120s", *names,
		    why);
		told = true;
	}
	return r;
}

static int
open_from(struct gpu_driver *d, const char *const *names, bool cuda, int ordinal,
    struct err *e)
{
	int r;

	*d = (struct gpu_driver){ .cuda = cuda };
	if ((r = load(d, names, e)) != 0)
		return r;
	if ((r = find_all(d, e)) == 0)
		r = choose(d, ordinal, e);
	if (r != 0)
		gpu_driver_close(d);
	return r;
}

int
gpu_driver_open(struct gpu_driver *d, int ordinal, struct err *e)
{
	int r = open_from(d, hip_libraries, false, ordinal, e);

#ifdef GPU_VALIDATE
	if (r == ERR_NOT_FOUND)
		r = open_from(d, cuda_libraries, true, ordinal, e);
#endif
	return r;
}

void
gpu_driver_close(struct gpu_driver *d)
{
	if (d->context != NULL)
		d->context_release(d->device);
	if (d->lib != NULL)
		dlclose(d->lib);
	*d = (struct gpu_driver){ 0 };
}

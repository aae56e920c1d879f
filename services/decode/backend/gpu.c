/*
 * The HIP runtime, found when the service starts and not when it is linked, so
 * that one binary serves machines with and without a GPU.  The entry points
 * are one list, which makes the struct and the dlsym calls.  This build has no
 * device code, so a machine that has runtime and device is told so, and under
 * "auto" the CPU runs the model.
 */
#include <dlfcn.h>
#include <string.h>

#include "backend/backend.h"

/* Every entry point that is used: name, parameters.  All return hipError_t. */
#define HIP_FUNCTIONS(F)           \
	F(hipInit, unsigned flags) \
	F(hipGetDeviceCount, int *count)

static struct {
#define F(name, ...) int (*name)(__VA_ARGS__);
	HIP_FUNCTIONS(F)
#undef F
} hip;

/* Newest first; the name without a number comes with a development package. */
static const char *const libraries[] = {
	"libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5",
	"libamdhip64.so",
};

/*
 * A runtime without a device is let go: it is large.  What it leaves behind then
 * is no leak of ours, but the leak checker could not tell whose it is.
 */
#ifdef __SANITIZE_ADDRESS__
enum { KEEP = RTLD_NODELETE };
#else
enum { KEEP = 0 };
#endif

static int
load(void *lib, struct err *e)
{
	void *symbol;

#define F(name, ...)                                  \
	if ((symbol = dlsym(lib, #name)) == NULL)     \
		return err_set(e, ERR_NOT_FOUND,      \
		    "libamdhip64 has no " #name);     \
	memcpy(&hip.name, &symbol, sizeof(symbol));
	HIP_FUNCTIONS(F)
#undef F
	return 0;
}

int
backend_gpu_open(const struct model *m, const struct backend_options *o,
    struct backend *b, struct err *e)
{
	const size_t n_libraries = sizeof(libraries) / sizeof(libraries[0]);
	void *lib = NULL;
	int n = 0, r;

	(void)m;
	(void)o;
	(void)b;
	for (size_t i = 0; i < n_libraries && lib == NULL; i++)
		lib = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL | KEEP);
	if (lib == NULL)
		return err_set(e, ERR_NOT_FOUND,
		    "no GPU: the HIP runtime (libamdhip64) is not installed");
	if ((r = load(lib, e)) != 0)
		goto out;
	if (hip.hipInit(0) != 0 || hip.hipGetDeviceCount(&n) != 0 || n == 0)
		r = err_set(e, ERR_NOT_FOUND, "no GPU: the HIP runtime is "
		    "installed and sees no device");
	else
		r = err_set(e, ERR_NOT_FOUND, "no GPU: %d device%s, but this "
		    "build has no device code yet", n, n == 1 ? "" : "s");
out:
	dlclose(lib);
	return r;
}

/*
 * A runtime knows best which code objects its device takes, so each is tried.
 */
#include "backend/gpu_module.h"

#include <stdio.h>

#include "backend/gpu_code.h"
#include "kernels/gpu_params.h"

enum {
	CUDA_SHARED_MAX = 8,	/* CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
	NO_BINARY = 209,	/* hipErrorNoBinaryForGpu, CUDA_ERROR_NO_BINARY_FOR_GPU */
};

int
gpu_module_load(const struct gpu_driver *d, const char *device_name, void **module,
    struct err *e)
{
	char names[128] = "none";
	size_t used = 0;
	int r = 0, worst = 0;	/* that it is another device's is the least */

	for (const struct gpu_code *c = gpu_codes; c->name != NULL; c++) {
		void *m = NULL;
		int n;

		if (c->cuda != d->cuda)
			continue;
		if ((r = d->module_load(&m, c->begin)) == 0) {
			*module = m;
			return 0;
		}
		worst = worst == 0 || worst == NO_BINARY ? r : worst;
		n = snprintf(names + used, sizeof(names) - used, "%s%s",
		    used > 0 ? ", " : "", c->name);
		used += n > 0 && (size_t)n < sizeof(names) - used ? (size_t)n : 0;
	}
	return err_set(e, ERR_NOT_FOUND, "no GPU: %.60s takes none of the code objects of "
	    "this build (%.60s): %.40s", device_name, names, worst != 0 ?
	    gpu_driver_error(d, worst) : "there are none for its runtime");
}

int
gpu_module_kernel(const struct gpu_driver *d, void *module, const char *name, void **kernel)
{
	int r;

	*kernel = NULL;
	r = d->module_function(kernel, module, name);
	return r == 0 && d->cuda ? d->function_set(*kernel, CUDA_SHARED_MAX,
	    GPU_CUDA_SMEM) : r;
}

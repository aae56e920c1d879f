/* Which there are is the Makefile's business: GPU_CODES(C) is C(name, cuda) for each, and
 * GPU_CODE_DIR where they are. */
#include "backend/gpu_code.h"

#include <stddef.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define C(name, cuda)                                                              \
	__asm__(".pushsection .rodata\n.balign 4096\n"                             \
	    "gpu_code_" #name ":\n.incbin \"" TEXT(GPU_CODE_DIR) "/" #name ".co\"\n" \
	    ".popsection\n");                                                      \
	extern const char gpu_code_##name[];
GPU_CODES(C)
#undef C

const struct gpu_code gpu_codes[] = {
#define C(name, cuda) { #name, cuda, gpu_code_##name },
	GPU_CODES(C)
#undef C
	{ NULL, false, NULL },
};

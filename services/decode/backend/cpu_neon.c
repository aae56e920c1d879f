/*
 * NEON with dot products of bytes (Armv8.2): its table.  The float kernels are
 * cpu_float.h's over four registers of 4 lanes.
 */
#include <sys/auxv.h>

#include "backend/cpu_neon.h"

enum { PV_BLOCK = 2 };
#define ATTEND_QUERIES 2
#define vf_prepare cpu_neon_prepare

#include "backend/cpu_float.h"

int
cpu_neon_open(struct cpu_kernels *k, struct err *e)
{
	if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) == 0)
		return err_set(e, ERR_NOT_FOUND,
		    "this CPU has no NEON with dot products");
	*k = (struct cpu_kernels){
		.isa = "neon", .title = "neon-dotprod",
		.n_queries = ATTEND_QUERIES,
		.quantise = quantise, .ternary = cpu_neon_ternary, .gate = gate,
		.norm_heads = norm_heads, .rope = rope, .store = store,
		.attend = attend, .merge = merge, .norm = norm, .head = cpu_neon_head,
	};
	return 0;
}

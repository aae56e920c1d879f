/*
 * AVX-512 with VNNI: its table.  The float kernels are cpu_float.h's over a
 * register of 16 lanes.
 */
#include "backend/cpu_avx512.h"

enum { PV_BLOCK = 4 };
#define ATTEND_QUERIES 8
#define vf_prepare cpu_avx512_prepare

#include "backend/cpu_float.h"

int
cpu_avx512_open(struct cpu_kernels *k, struct err *e)
{
	if (!__builtin_cpu_supports("avx512f") ||
	    !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512dq") ||
	    !__builtin_cpu_supports("avx512vl") ||
	    !__builtin_cpu_supports("avx512vnni"))
		return err_set(e, ERR_NOT_FOUND,
		    "this CPU has no AVX-512 with VNNI");
	*k = (struct cpu_kernels){
		.isa = "avx512", .title = "avx512-vnni",
		.n_queries = ATTEND_QUERIES,
		.base3 = __builtin_cpu_supports("avx512vbmi"),
		.quantise = quantise, .ternary =
		    __builtin_cpu_supports("avx512vbmi") ?
		    cpu_avx512_vbmi_ternary : cpu_avx512_ternary, .gate = gate,
		.norm_heads = norm_heads, .rope = rope, .store = store,
		.attend = attend, .merge = merge, .norm = norm, .head = cpu_avx512_head,
	};
	return 0;
}

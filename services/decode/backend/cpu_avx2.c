/*
 * AVX2: its table.  The float kernels are cpu_float.h's over two registers of 8
 * lanes.
 */
#include "backend/cpu_avx2.h"

enum { PV_BLOCK = 2 };
#define ATTEND_QUERIES 2
#define vf_prepare cpu_avx2_prepare

#include "backend/cpu_float.h"

int
cpu_avx2_open(struct cpu_kernels *k, struct err *e)
{
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return err_set(e, ERR_NOT_FOUND, "this CPU has no AVX2");
	*k = (struct cpu_kernels){
		.isa = "avx2", .title = "avx2",
		.n_queries = ATTEND_QUERIES,
		.quantise = quantise, .ternary = cpu_avx2_ternary, .gate = gate,
		.norm_heads = norm_heads, .rope = rope, .store = store,
		.attend = attend, .merge = merge, .norm = norm, .head = cpu_avx2_head,
	};
	return 0;
}

/* Ternary products of AVX-VNNI: vpdpbusd, 32 products by fours. */
#include "backend/cpu_avx2_lanes.h"

#undef TARGET
#define TARGET __attribute__((target("avx2,fma,f16c,avxvnni")))

enum { RUN_BLOCKS = 1 << 20, DIRECT_ROWS = 16 };

void cpu_avxvnni_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add);

INLINE vi vi_open(vi sum) { return sum; }
INLINE vi vi_dot(vi acc, vi c, vi x) { return _mm256_dpbusd_avx_epi32(acc, c, x); }

INLINE vi
vi_close(vi sum, vi acc)
{
	(void)sum;
	return acc;
}

#include "backend/cpu_base3.h"
#include "backend/cpu_ternary.h"

void
cpu_avxvnni_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add)
{
	products(w, from, to, x, n_rows, y, y_stride, add);
}

/*
 * Ternary products of AVX2: vpmaddubsw multiplies 32 codes 0..2 (unsigned) by 32
 * activations (signed) and adds them by pairs.  A pair is at most
 * 2 * 2 * 128 = 512, so up to 63 of them are added in 16 bits before they are
 * widened: a block has 8 of them, a part of what is turned 16.
 */
#include "backend/cpu_avx2_lanes.h"

enum { RUN_BLOCKS = 7, DIRECT_ROWS = 16 };

VF vi
vi_open(vi sum)
{
	(void)sum;
	return vi_zero();
}

VF vi
vi_dot(vi acc, vi c, vi x)
{
	return _mm256_add_epi16(acc, _mm256_maddubs_epi16(c, x));
}

VF vi
vi_close(vi sum, vi acc)
{
	return _mm256_add_epi32(sum, _mm256_madd_epi16(acc,
	    _mm256_set1_epi16(1)));
}

#include "backend/cpu_base3.h"
#include "backend/cpu_ternary.h"

void
cpu_avx2_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add)
{
	products(w, from, to, x, n_rows, y, y_stride, add);
}

/*
 * Ternary products of AVX-512 with VNNI: vpdpbusd multiplies 64 unsigned bytes by
 * 64 signed ones and adds them by fours.  Codes 0..2 are the unsigned side, so
 * activations need no offset, and what the offset of 1 in the codes adds is the
 * sum of the row, subtracted once (TERNARY, CPU).
 */
#include "backend/cpu_avx512_lanes.h"
#include "backend/cpu_base3.h"
#include "backend/cpu_ternary.h"

void
cpu_avx512_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add)
{
	products(w, from, to, x, n_rows, y, y_stride, add);
}

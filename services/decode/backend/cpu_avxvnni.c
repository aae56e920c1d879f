/*
 * AVX-VNNI: processors of the years in which desktops lost AVX-512, and kept its
 * multiplication by fours for 256 bits.  All but the products is AVX2's.
 */
#include <cpuid.h>

#include "backend/cpu_kernels.h"

int cpu_avxvnni_open(struct cpu_kernels *k, struct err *e);
int cpu_avx2_open(struct cpu_kernels *k, struct err *e);
void cpu_avxvnni_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add);
void cpu_avxvnni_head(const struct dense *w, int from, int to,
    const struct cpu_hidden *x, int n_rows, float *y, size_t y_stride);

/* CPUID, leaf 7, subleaf 1: bit 4 of EAX.  Not every compiler knows the name. */
static bool
has_avxvnni(void)
{
	unsigned a = 0, b, c, d;

	return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}

int
cpu_avxvnni_open(struct cpu_kernels *k, struct err *e)
{
	int r;

	if (!has_avxvnni())
		return err_set(e, ERR_NOT_FOUND, "this CPU has no AVX-VNNI");
	r = cpu_avx2_open(k, e);	/* which sees to the system's part, too */
	if (r != 0)
		return r;
	k->isa = "avxvnni";
	k->title = "avx-vnni";
	k->ternary = cpu_avxvnni_ternary;
	k->head = cpu_avxvnni_head;
	return 0;
}

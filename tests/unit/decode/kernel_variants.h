#ifndef TESTS_KERNEL_VARIANTS_H
#define TESTS_KERNEL_VARIANTS_H

/* The CPU variants that there may be, and sizes with odd ends. */
#include <check.h>

#include "backend/cpu_kernels.h"

enum { N_MAX = 7000, N_ROWS = 9, N_OUT = 13 };

static const char *const isas[] = { "avx512", "avxvnni", "avx2", "neon", "scalar" };
enum { N_ISAS = sizeof(isas) / sizeof(isas[0]) };
static const int sizes[] = { 1, 2, 15, 16, 17, 63, 64, 100, 255, 256, 257, 320,
	1000, 2560, 6912 };
enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static struct cpu_kernels k;

/* False if this machine lacks the variant. */
static bool
open_one(int i)
{
	struct err e;

	if (cpu_kernels_open(isas[i], &k, &e) != 0) {
		ck_assert_int_eq(e.code, ERR_NOT_FOUND);
		ck_assert_str_ne(isas[i], "scalar");
		return false;
	}
	ck_assert_str_eq(k.isa, isas[i]);
	return true;
}

#endif

#ifndef BENCH_GEMV_FORMATS_H
#define BENCH_GEMV_FORMATS_H

#include <stdbool.h>

/*
 * Compare denser formats of weights with the 2-bit kernel and print what was
 * measured: one thread and n_threads, medians of n_rounds <= 64.  The exit status:
 * 1 if the processor lacks what is compared or a product is wrong.
 */
int gemv_formats(int n_threads, bool huge, int n_rounds);

#endif

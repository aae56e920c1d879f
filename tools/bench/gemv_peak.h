#ifndef BENCH_GEMV_PEAK_H
#define BENCH_GEMV_PEAK_H

/*
 * Products of a byte and an int8 that one core does when nothing else is to be
 * done, in 10^9 a second: vpdpbusd of 512 bits.  0: this processor lacks it.
 */
double gemv_peak(void);

#endif

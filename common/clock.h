#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC: durations and deadlines, never the time of day. */
int64_t clock_ms(void);
int64_t clock_ns(void);

/* n_bytes of getrandom(2) as 2 * n_bytes hex digits and a NUL in out. */
void random_hex(char *out, int n_bytes);

#endif

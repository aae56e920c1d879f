#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "clock.h"

int64_t
clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t
clock_ms(void)
{
	return clock_ns() / 1000000;
}

void
random_hex(char *out, int n_bytes)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char byte;

	for (int i = 0; i < n_bytes; i++) {
		while (getrandom(&byte, 1, 0) != 1)
			if (errno != EINTR)
				abort();	/* no kernel we run on lacks it */
		out[2 * i] = digits[byte >> 4];
		out[2 * i + 1] = digits[byte & 15];
	}
	out[2 * n_bytes] = '\0';
}

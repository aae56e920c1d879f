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
	unsigned char bytes[32];
	int n;

	/* So few come at once or not at all. */
	for (; n_bytes > 0; n_bytes -= n) {
		n = n_bytes < (int)sizeof(bytes) ? n_bytes : (int)sizeof(bytes);
		while (getrandom(bytes, (size_t)n, 0) != n)
			if (errno != EINTR)
				abort();	/* no kernel we run on lacks it */
		for (int i = 0; i < n; i++) {
			*out++ = digits[bytes[i] >> 4];
			*out++ = digits[bytes[i] & 15];
		}
	}
	*out = '\0';
}

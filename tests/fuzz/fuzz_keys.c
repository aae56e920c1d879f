/* auth_load: the input is a key file; what it says is within the limits, and an
 * unusable one leaves the keys as they were. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
load(struct auth *a, const void *data, size_t n, int *r)
{
	int fd = memfd_create("keys", 0);
	char path[32];
	struct err e;

	if (fd == -1 || write(fd, data, n) != (ssize_t)n)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*r = auth_load(a, path, &e);
	close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char old[] = "the-old-key name=old\n";
	struct auth_key key;
	struct auth a;
	int r;

	auth_init(&a);
	load(&a, old, sizeof(old) - 1, &r);
	if (r != 0)
		abort();
	load(&a, data, n, &r);
	if (r != 0 && (!auth_find(&a, "the-old-key", &key) ||
	    strcmp(key.name, "old") != 0 || auth_count(&a) != 1))
		abort();
	for (size_t i = 0; i < a.n; i++)
		if (a.keys[i].name[0] == '\0' ||
		    strlen(a.keys[i].name) > AUTH_NAME_MAX ||
		    a.keys[i].rpm < AUTH_DEFAULT || a.keys[i].rpm > 999999999 ||
		    a.keys[i].tpm < AUTH_DEFAULT || a.keys[i].tpm > 999999999)
			abort();
	if (auth_find(&a, "", &key) || auth_find(&a, NULL, &key))
		abort();
	auth_free(&a);
	return 0;
}

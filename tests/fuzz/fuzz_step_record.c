/*
 * Any bytes as the record of steps that a worker left.  What is taken for one can be
 * told to a gateway.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "step_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char path[64];

static void
remove_file(void)
{
	unlink(path);
}

static void
write_file(const uint8_t *data, size_t n)
{
	int fd;

	if (path[0] == '\0') {
		snprintf(path, sizeof(path), "%s/fuzz-step-%d", access("/dev/shm",
		    W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
		atexit(remove_file);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, n) != (ssize_t)n)
		abort();
	close(fd);
}

/* The reply is what its fields say. */
static void
tell(const struct step_record *r)
{
	struct decode_last_step_is is, told;
	json_t *o;

	step_record_last(r, &is);
	o = field_encode(decode_last_step_is_fields(), &is);
	if (o == NULL || field_decode(decode_last_step_is_fields(), sizeof(told), o,
	    &told, NULL) != 0)
		abort();
	json_decref(o);
	json_decref(is.requests);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct step_record r;

	write_file(data, n);
	if (step_record_open(&r, path, NULL) != 0)
		abort();
	tell(&r);
	step_record_close(&r);
	return 0;
}

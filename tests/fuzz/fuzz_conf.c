/* conf_load: the input is an option file; what it says is within the limits. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf.h"

#define OPTIONS(F)                                              \
	F(INT, port, 1, 65535, "8080", "", "a port")            \
	F(STR, name, 0, 16, "\"\"", "bytes", "a name")          \
	F(REAL, heat, 0, 2, "0.5", "", "a number")              \
	F(BOOL, loud, 0, 0, "false", "", "a switch")            \
	F(JSON, peer, 0, 4, "[]", "", "one more")
FIELD_STRUCT(fuzz_options, OPTIONS);
FIELD_TABLE(fuzz_options, OPTIONS)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct conf_program p = {
		.name = "fuzz", .summary = "x", .env_prefix = "FUZZ_CONF_",
		.details = "",
	};
	char arg0[] = "fuzz", arg1[] = "--config", path[32];
	char *argv[] = { arg0, arg1, path, NULL };
	struct fuzz_options o;
	enum conf_action action;
	struct err e;
	json_t *obj = json_object();
	int fd = memfd_create("conf", 0);

	if (fd == -1 || write(fd, data, n) != (ssize_t)n)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (conf_load(&p, fuzz_options_fields(), sizeof(o), 3, argv, obj, &o,
	    &action, &e) == 0 && (o.port < 1 || o.port > 65535 ||
	    strlen(o.name) > 16 || !(o.heat >= 0 && o.heat <= 2) ||
	    json_array_size(o.peer) > 4 || action != CONF_RUN))
		abort();
	json_decref(obj);
	close(fd);
	return 0;
}

/*
 * One message of an MCP client, through parsing and both eras.  The first byte
 * chooses the transport and the state; the rest is the message.  Every answer
 * must be one that a client can read back.
 */
#include <stdlib.h>
#include <string.h>

#include "dispatch.h"

static int
no_health(void *self, struct stack_unit *units)
{
	(void)self;
	units[0] = (struct stack_unit){ .unit = "decode", .uptime_ms = -1 };
	return 1;
}

static int
no_models(void *self, struct stack_model *m, int *n, struct err *e)
{
	(void)self;
	(void)m;
	(void)n;
	return err_set(e, ERR_UNAVAILABLE, "down");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct dispatch d = {
		.stack = { .health = no_health, .models = no_models },
	};
	struct peer p = { .session = PEER_NONE };
	struct answer a;
	char *text;

	if (n == 0)
		return 0;
	p.session = (enum peer_session)(data[0] % 3);
	p.http = (data[0] & 4) != 0;
	if ((data[0] & 8) != 0) {
		p.version = "2026-07-28";
		p.method = (data[0] & 16) != 0 ? "tools/call" : "tools/list";
		p.name = "health";
	}
	dispatch(&d, &p, (const char *)data + 1, n - 1, &a);
	if (a.body != NULL) {
		text = json_dumps(a.body, JSON_COMPACT);
		if (text == NULL || strchr(text, '\n') != NULL)
			abort();
		free(text);
	} else if (a.http_status != 202) {
		abort();
	}
	json_decref(a.body);
	return 0;
}

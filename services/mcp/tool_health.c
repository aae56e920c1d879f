#include <time.h>

#include "clock.h"
#include "conf.h"
#include "tool.h"

static const struct field *
health_fields(void)
{
	static const struct field none[] = { { 0 } };

	return none;
}

/* What is known of when u became as it is; a process that runs began. */
static json_t *
since(const struct stack_unit *u)
{
	time_t t = time(NULL) - (time_t)(u->uptime_ms / 1000);
	char text[32];
	struct tm tm;

	if (u->since[0] != '\0')
		return json_string(u->since);
	if (u->uptime_ms < 0 || gmtime_r(&t, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return json_null();
	return json_string(text);
}

static json_t *
describe(const struct stack_unit *u)
{
	return json_pack("{s:s, s:b, s:s, s:o, s:o, s:o}", "unit", u->unit,
	    "ready", u->ready, "reason", u->reason, "version",
	    u->version[0] != '\0' ? json_string(u->version) : json_null(),
	    "uptime_ms",
	    u->uptime_ms >= 0 ? json_integer(u->uptime_ms) : json_null(),
	    "since", since(u));
}

static int
health(const struct stack *s, const json_t *arguments, json_t **out,
    struct err *e)
{
	struct stack_unit units[STACK_UNITS_MAX];
	json_t *list = json_array();
	int n = s->health(s->self, units), ready = 1;
	struct stack_unit self = { .unit = "mcp", .ready = true,
		.version = ONEBIT_VERSION,
		.uptime_ms = clock_ms() - s->start_ms };

	(void)arguments;
	for (int i = 0; i < n; i++) {
		json_array_append_new(list, describe(&units[i]));
		ready &= units[i].ready;
	}
	json_array_append_new(list, describe(&self));
	*out = json_pack("{s:b, s:o}", "ready", ready, "units", list);
	return *out != NULL ? 0 : err_set(e, ERR_NO_MEMORY, "memory is short");
}

const struct tool tool_health = {
	.name = "health",
	.title = "Health of the stack",
	.description = "Say for every unit of the 1bit stack on this machine"
	    " whether it is ready, why not, its version and how long it has been"
	    " running.",
	.arguments = health_fields,
	.output_schema =
	    "{\"type\": \"object\", \"additionalProperties\": false,"
	    " \"required\": [\"ready\", \"units\"],"
	    " \"properties\": {"
	    "  \"ready\": {\"type\": \"boolean\", \"description\":"
	    "   \"is every unit ready\"},"
	    "  \"units\": {\"type\": \"array\", \"items\": {"
	    "   \"type\": \"object\", \"additionalProperties\": false,"
	    "   \"required\": [\"unit\", \"ready\", \"reason\", \"version\","
	    "    \"uptime_ms\", \"since\"],"
	    "   \"properties\": {"
	    "    \"unit\": {\"type\": \"string\"},"
	    "    \"ready\": {\"type\": \"boolean\"},"
	    "    \"reason\": {\"type\": \"string\", \"description\":"
	    "     \"why it is not ready\"},"
	    "    \"version\": {\"type\": [\"string\", \"null\"]},"
	    "    \"uptime_ms\": {\"type\": [\"integer\", \"null\"]},"
	    "    \"since\": {\"type\": [\"string\", \"null\"], \"description\":"
	    "     \"when it became as it is, RFC 3339\"}}}}}}",
	.read_only = true, .idempotent = true,
	.call = health,
};

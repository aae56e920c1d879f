#include <stdlib.h>

#include "tool.h"

static const struct field *
kernel_timings_fields(void)
{
	static const struct field none[] = { { 0 } };

	return none;
}

static json_t *
describe(const struct stack_kernel *k, int64_t all_ns)
{
	return json_pack("{s:s, s:I, s:f, s:f, s:f, s:o}", "name", k->name,
	    "calls", (json_int_t)k->calls,
	    "milliseconds", (double)k->ns / 1e6,
	    "share", all_ns > 0 ? (double)k->ns / (double)all_ns : 0.0,
	    "gigabytes_read", (double)k->bytes / 1e9,
	    "gigabytes_per_second", k->ns > 0 ?
	    json_real((double)k->bytes / (double)k->ns) : json_null());
}

/* That the worker is down is an answer, not a failure of this tool. */
static int
kernel_timings(const struct stack *s, const json_t *arguments, json_t **out,
    struct err *e)
{
	struct stack_kernel k[STACK_KERNELS_MAX];
	json_t *list = json_array();
	struct err why = { 0 };
	int64_t all_ns = 0;
	int n = 0, r;

	(void)arguments;
	if (list == NULL)
		return err_set(e, ERR_NO_MEMORY, "memory is short");
	r = s->kernels(s->self, k, &n, &why);
	for (int i = 0; i < n; i++)
		all_ns += k[i].ns;
	for (int i = 0; i < n; i++)
		json_array_append_new(list, describe(&k[i], all_ns));
	*out = json_pack("{s:b, s:s, s:o}", "available", r == 0, "reason",
	    r == 0 ? "" : why.text, "kernels", list);
	return *out != NULL ? 0 :
	    err_set(e, ERR_SYSTEM, "a name is not UTF-8");
}

const struct tool tool_kernel_timings = {
	.name = "kernel_timings",
	.title = "Kernel timings",
	.description = "Say where the decode worker's time has gone since its"
	    " start, by kind of work (attention, products with the weights, the"
	    " head): how often, how long, its share of the whole and how fast"
	    " memory was read. Ask twice and subtract to see a period.",
	.arguments = kernel_timings_fields,
	.output_schema =
	    "{\"type\": \"object\", \"additionalProperties\": false,"
	    " \"required\": [\"available\", \"reason\", \"kernels\"],"
	    " \"properties\": {"
	    "  \"available\": {\"type\": \"boolean\", \"description\":"
	    "   \"could the worker be asked\"},"
	    "  \"reason\": {\"type\": \"string\", \"description\":"
	    "   \"if not, why\"},"
	    "  \"kernels\": {\"type\": \"array\", \"items\": {"
	    "   \"type\": \"object\", \"additionalProperties\": false,"
	    "   \"required\": [\"name\", \"calls\", \"milliseconds\","
	    "    \"share\", \"gigabytes_read\", \"gigabytes_per_second\"],"
	    "   \"properties\": {"
	    "    \"name\": {\"type\": \"string\"},"
	    "    \"calls\": {\"type\": \"integer\", \"description\":"
	    "     \"steps of this kind\"},"
	    "    \"milliseconds\": {\"type\": \"number\", \"description\":"
	    "     \"wall time in which the worker did nothing else\"},"
	    "    \"share\": {\"type\": \"number\", \"description\":"
	    "     \"of the time of all kinds, 0 to 1\"},"
	    "    \"gigabytes_read\": {\"type\": \"number\", \"description\":"
	    "     \"of weights and KV cache\"},"
	    "    \"gigabytes_per_second\": {\"type\": [\"number\", \"null\"]}"
	    "}}}}}",
	.read_only = true, .idempotent = true,
	.call = kernel_timings,
};

/*
 * What tools/list says of a tool's input and what tools/call checks come from
 * the same field table, so they cannot differ.
 */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "tool.h"

const struct tool *const tools[] = {
	&tool_health,
	&tool_kernel_timings,
	&tool_list_models,
	NULL
};
_Static_assert(sizeof(tools) / sizeof(tools[0]) <= TOOLS_MAX, "TOOLS_MAX");

/* JSON Schema of one argument. */
static json_t *
property(const struct field *f)
{
	static const char *const types[] = {
		[FIELD_STR] = "string", [FIELD_INT] = "integer",
		[FIELD_REAL] = "number", [FIELD_BOOL] = "boolean",
	};
	json_t *p = json_pack("{s:s}", "description", f->doc);

	if (f->kind != FIELD_JSON)
		json_object_set_new(p, "type", json_string(types[f->kind]));
	if (f->kind == FIELD_INT || f->kind == FIELD_REAL) {
		json_object_set_new(p, "minimum", json_real(f->min));
		json_object_set_new(p, "maximum", json_real(f->max));
	}
	if (f->dflt != NULL)
		json_object_set_new(p, "default",
		    json_loads(f->dflt, JSON_DECODE_ANY, NULL));
	return p;
}

static json_t *
input_schema(const struct field *fields)
{
	json_t *properties = json_object(), *required = json_array();
	json_t *schema;

	for (const struct field *f = fields; f->name != NULL; f++) {
		json_object_set_new(properties, f->name, property(f));
		if (f->dflt == NULL)
			json_array_append_new(required, json_string(f->name));
	}
	schema = json_pack("{s:s, s:o, s:b}", "type", "object", "properties",
	    properties, "additionalProperties", 0);
	if (json_array_size(required) > 0)
		json_object_set(schema, "required", required);
	json_decref(required);
	return schema;
}

static json_t *
describe(const struct tool *t)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:{s:s, s:b, s:b, s:b, s:b}}",
	    "name", t->name, "title", t->title, "description", t->description,
	    "inputSchema", input_schema(t->arguments()),
	    "outputSchema", json_loads(t->output_schema, 0, NULL),
	    "annotations", "title", t->title, "readOnlyHint", t->read_only,
	    "destructiveHint", t->destructive, "idempotentHint", t->idempotent,
	    "openWorldHint", t->open_world);
}

json_t *
tool_list(void)
{
	json_t *list = json_array();

	for (int i = 0; tools[i] != NULL; i++)
		json_array_append_new(list, describe(tools[i]));
	return json_pack("{s:o}", "tools", list);
}

static json_t *
failure(const char *name, const char *why)
{
	return json_pack("{s:[{s:s, s:o}], s:b}", "content", "type", "text",
	    "text", json_sprintf("%s: %s", name, why), "isError", 1);
}

/* The structured answer and, for clients that read text only, the same as text;
 * structured is taken. */
static json_t *
success(const char *name, json_t *structured)
{
	char *text = json_dumps(structured, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	json_t *result;

	if (text == NULL || strlen(text) > TOOL_RESULT_MAX) {
		json_decref(structured);
		result = failure(name, "the result is too long");
	} else {
		result = json_pack("{s:[{s:s, s:s}], s:o, s:b}", "content",
		    "type", "text", "text", text, "structuredContent",
		    structured, "isError", 0);
	}
	free(text);
	return result;
}

/* Are arguments what t declares?  Missing ones get their default. */
static int
check_arguments(const struct tool *t, json_t *arguments, struct err *e)
{
	const struct field *f = t->arguments();
	size_t size = 0;
	char *out;
	int r;

	for (const struct field *p = f; p->name != NULL; p++)
		if (p->offset + sizeof(int64_t) > size)
			size = p->offset + sizeof(int64_t);
	if ((out = calloc(1, size + 1)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "memory is short");
	r = field_decode(f, size, arguments, out, e);
	free(out);
	return r;
}

static json_t *
run(const struct tool *t, const struct stack *s, json_t *arguments, bool *failed)
{
	json_t *out = NULL;
	struct err e;

	*failed = check_arguments(t, arguments, &e) != 0 ||
	    t->call(s, arguments, &out, &e) != 0;
	return *failed ? failure(t->name, e.text) : success(t->name, out);
}

int
tool_call(const struct stack *s, struct tool_stats *stats,
    const json_t *params, json_t **result, struct rpc_error *e)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	json_t *arguments = json_object_get(params, "arguments");
	int64_t start = clock_ns();
	bool failed;
	int i = 0;

	if (name == NULL)
		return rpc_fail(e, RPC_PARAMS, 400, "'name' is not a string");
	while (tools[i] != NULL && strcmp(tools[i]->name, name) != 0)
		i++;
	if (tools[i] == NULL)
		return rpc_fail(e, RPC_PARAMS, 400, "there is no tool '%.64s'",
		    name);
	if (arguments != NULL && !json_is_object(arguments))
		return rpc_fail(e, RPC_PARAMS, 400,
		    "'arguments' is not an object");
	arguments = arguments != NULL ? json_incref(arguments) : json_object();
	*result = run(tools[i], s, arguments, &failed);
	json_decref(arguments);
	stats->calls[i]++;
	stats->errors[i] += failed;
	metrics_observe(&stats->seconds, (double)(clock_ns() - start) * 1e-9);
	return *result != NULL ? 0 :
	    rpc_fail(e, RPC_INTERNAL, 500, "memory is short");
}

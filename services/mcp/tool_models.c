#include <stdlib.h>

#include "tool.h"

static const struct field *
list_models_fields(void)
{
	static const struct field none[] = { { 0 } };

	return none;
}

/* A member that is not known is null, so that every answer has the same ones. */
static json_t *
text_or_null(const char *text)
{
	return text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *
number_or_null(int64_t n)
{
	return n > 0 ? json_integer(n) : json_null();
}

static json_t *
describe(const struct stack_model *m)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
	    "id", m->id, "architecture", text_or_null(m->architecture),
	    "format", text_or_null(m->format),
	    "backend", text_or_null(m->backend),
	    "context_tokens", number_or_null(m->n_ctx),
	    "trained_context_tokens", number_or_null(m->n_ctx_train),
	    "parameters", number_or_null(m->n_params),
	    "size_bytes", number_or_null(m->size_bytes));
}

/* That the worker is down is an answer, not a failure of this tool. */
static int
list_models(const struct stack *s, const json_t *arguments, json_t **out,
    struct err *e)
{
	struct stack_model *m = calloc(STACK_MODELS_MAX, sizeof(*m));
	json_t *list = json_array();
	struct err why = { 0 };
	int n = 0, r;

	(void)arguments;
	if (m == NULL || list == NULL) {
		free(m);
		json_decref(list);
		return err_set(e, ERR_NO_MEMORY, "memory is short");
	}
	r = s->models(s->self, m, &n, &why);
	for (int i = 0; i < n; i++)
		json_array_append_new(list, describe(&m[i]));
	free(m);
	*out = json_pack("{s:b, s:s, s:o}", "available", r == 0, "reason",
	    r == 0 ? "" : why.text, "models", list);
	return *out != NULL ? 0 :
	    err_set(e, ERR_SYSTEM, "a name is not UTF-8");
}

const struct tool tool_list_models = {
	.name = "list_models",
	.title = "List models",
	.description = "List the language models that this machine serves, with"
	    " context length, number of parameters, weight format and the"
	    " backend that runs them.",
	.arguments = list_models_fields,
	.output_schema =
	    "{\"type\": \"object\", \"additionalProperties\": false,"
	    " \"required\": [\"available\", \"reason\", \"models\"],"
	    " \"properties\": {"
	    "  \"available\": {\"type\": \"boolean\", \"description\":"
	    "   \"could the models be asked for\"},"
	    "  \"reason\": {\"type\": \"string\", \"description\":"
	    "   \"if not, why\"},"
	    "  \"models\": {\"type\": \"array\", \"items\": {"
	    "   \"type\": \"object\", \"additionalProperties\": false,"
	    "   \"required\": [\"id\", \"architecture\", \"format\","
	    "    \"backend\", \"context_tokens\", \"trained_context_tokens\","
	    "    \"parameters\", \"size_bytes\"],"
	    "   \"properties\": {"
	    "    \"id\": {\"type\": \"string\"},"
	    "    \"architecture\": {\"type\": [\"string\", \"null\"]},"
	    "    \"format\": {\"type\": [\"string\", \"null\"]},"
	    "    \"backend\": {\"type\": [\"string\", \"null\"]},"
	    "    \"context_tokens\": {\"type\": [\"integer\", \"null\"]},"
	    "    \"trained_context_tokens\":"
	    "     {\"type\": [\"integer\", \"null\"]},"
	    "    \"parameters\": {\"type\": [\"integer\", \"null\"]},"
	    "    \"size_bytes\": {\"type\": [\"integer\", \"null\"]}}}}}}",
	.read_only = true, .idempotent = true,
	.call = list_models,
};

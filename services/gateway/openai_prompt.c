/*
 * What is not a chat: a text, token ids, or a list of either.
 */
#include <stdint.h>

#include "decode.h"
#include "openai_request.h"

static int
add_ids(const json_t *ids, const char *name, json_t *list, struct err *e)
{
	size_t i;
	json_t *id;

	if (json_array_size(ids) == 0 || json_array_size(ids) > DECODE_CTX_MAX)
		return err_set_param(e, ERR_RANGE, name,
		    "'%s' has a list of %zu token ids", name,
		    json_array_size(ids));
	json_array_foreach((json_t *)(uintptr_t)ids, i, id)
		if (!json_is_integer(id) || json_integer_value(id) < 0 ||
		    json_integer_value(id) >= 1 << 20)
			return err_set_param(e, ERR_RANGE, name,
			    "'%s' has an element that is not a token id", name);
	json_array_append_new(list, json_pack("{s:O}", "prompt_ids", ids));
	return 0;
}

static int
add_text(const json_t *text, const char *name, json_t *list, struct err *e)
{
	size_t n = json_string_length(text);

	if (!json_is_string(text) || n == 0)
		return err_set_param(e, ERR_RANGE, name,
		    "'%s' is neither a text nor a list of token ids, or it is "
		    "empty", name);
	if (n > DECODE_PROMPT_MAX)
		return err_set_param(e, ERR_RANGE, name,
		    "'%s' has %zu bytes, more than %d", name, n,
		    DECODE_PROMPT_MAX);
	json_array_append_new(list, json_pack("{s:O}", "prompt", text));
	return 0;
}

int
openai_parse_prompts(const json_t *body, const char *name, size_t max,
    json_t *list, struct err *e)
{
	const json_t *v = openai_member(body, name);
	const json_t *first = json_array_get(v, 0);
	size_t n = json_array_size(v);
	int r = 0;

	if (v == NULL)
		return err_set_param(e, ERR_BAD_MESSAGE, name,
		    "'%s' is missing", name);
	if (!json_is_array(v))
		return add_text(v, name, list, e);
	if (!json_is_string(first) && !json_is_array(first))
		return add_ids(v, name, list, e);
	if (n > max)
		return err_set_param(e, ERR_RANGE, name,
		    "'%s' has %zu elements, more than %zu", name, n, max);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const json_t *one = json_array_get(v, i);

		r = json_is_array(one) ? add_ids(one, name, list, e) :
		    add_text(one, name, list, e);
	}
	return r;
}

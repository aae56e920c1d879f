/*
 * Members that OpenAI, llama-server or vLLM know and that would change the
 * answer.  Each has values with which it changes nothing; any other is refused.
 * What only says how to compute (id_slot, n_keep, priority) is ignored.
 */
#include <stdint.h>
#include <string.h>

#include "openai_request.h"

/* With which values a member changes nothing. */
enum neutral {
	NEVER,			/* with none */
	EMPTY,			/* [] or {} or "" */
	FALSE,			/* false */
	TRUE,			/* true */
	NUMBER,			/* one number */
	NOT_ABOVE,		/* any number up to it */
	WORD,			/* one of two words */
	SAMPLERS,		/* [], or those that there are */
};

static const struct rule {
	const char *name;
	enum neutral neutral;
	double number;
	const char *words[2];
	bool later;		/* it is coming: say so */
} both[] = {
	{ .name = "grammar", .neutral = EMPTY, .later = true },
	{ .name = "json_schema", .later = true },
	{ .name = "guided_json", .later = true },
	{ .name = "guided_regex", .later = true },
	{ .name = "guided_choice", .later = true },
	{ .name = "guided_grammar", .later = true },
	{ .name = "guided_json_object", .neutral = FALSE, .later = true },
	{ .name = "regex", .neutral = EMPTY, .later = true },	/* SGLang's */
	{ .name = "ebnf", .neutral = EMPTY, .later = true },
	{ .name = "structured_outputs", .later = true },
	{ .name = "mirostat", .neutral = NUMBER, .number = 0 },
	{ .name = "typical_p", .neutral = NUMBER, .number = 1 },
	{ .name = "tfs_z", .neutral = NUMBER, .number = 1 },
	{ .name = "top_a", .neutral = NUMBER, .number = 0 },
	{ .name = "dynatemp_range", .neutral = NUMBER, .number = 0 },
	{ .name = "dry_multiplier", .neutral = NUMBER, .number = 0 },
	{ .name = "xtc_probability", .neutral = NUMBER, .number = 0 },
	{ .name = "top_n_sigma", .neutral = NOT_ABOVE, .number = 0 },
	{ .name = "adaptive_target", .neutral = NOT_ABOVE, .number = 0 },
	{ .name = "samplers", .neutral = SAMPLERS },
	{ .name = "lora", .neutral = EMPTY },
	{ .name = "n_indent", .neutral = NUMBER, .number = 0 },
	{ .name = "t_max_predict_ms", .neutral = NOT_ABOVE, .number = 0 },
	{ .name = "post_sampling_probs", .neutral = FALSE },
	{ .name = "min_tokens", .neutral = NUMBER, .number = 0 },
	{ .name = "stop_token_ids", .neutral = EMPTY },
	{ .name = "bad_words", .neutral = EMPTY },
	{ .name = "allowed_token_ids", .neutral = EMPTY },
	{ .name = "use_beam_search", .neutral = FALSE },
	{ .name = "prompt_logprobs" },	/* -1: of all tokens */
	{ .name = "truncate_prompt_tokens", .neutral = EMPTY },
	{ .name = "include_stop_str_in_output", .neutral = FALSE },
	{ .name = "skip_special_tokens", .neutral = TRUE },
	{ .name = "logits_processors", .neutral = EMPTY },
	{ .name = "return_tokens_as_token_ids", .neutral = FALSE },
}, chat[] = {
	{ .name = "tools", .neutral = EMPTY, .later = true },
	{ .name = "functions", .neutral = EMPTY, .later = true },
	{ .name = "tool_choice", .neutral = WORD,
	  .words = { "none", "auto" }, .later = true },
	{ .name = "function_call", .neutral = WORD,
	  .words = { "none", "auto" }, .later = true },
	{ .name = "audio" },
	{ .name = "web_search_options" },
	{ .name = "mm_processor_kwargs", .neutral = EMPTY },
	{ .name = "chat_template" },
	{ .name = "documents", .neutral = EMPTY },
	{ .name = "add_generation_prompt", .neutral = TRUE },
	{ .name = "continue_final_message", .neutral = FALSE },
	{ .name = "add_special_tokens", .neutral = FALSE },
	{ .name = "echo", .neutral = FALSE },
	{ .name = "best_of", .neutral = NOT_ABOVE, .number = 1 },
	{ .name = "include_reasoning", .neutral = TRUE },
	{ .name = "thinking_token_budget", .neutral = NOT_ABOVE,
	  .number = -1 },
	{ .name = "thinking_budget_tokens", .neutral = NOT_ABOVE,
	  .number = -1 },
	{ .name = "reasoning_budget_tokens", .neutral = NOT_ABOVE,
	  .number = -1 },
};

static bool
is_word(const json_t *v, const char *a, const char *b)
{
	const char *s = json_string_value(v);

	return s != NULL && (strcmp(s, a) == 0 || strcmp(s, b) == 0);
}

static bool
is_empty(const json_t *v)
{
	return (json_is_array(v) || json_is_object(v) || json_is_string(v)) &&
	    json_array_size(v) == 0 && json_object_size(v) == 0 &&
	    json_string_length(v) == 0;
}

json_t *
openai_samplers(void)
{
	return json_pack("[s, s, s, s, s]", "penalties", "top_k", "min_p",
	    "temperature", "top_p");
}

static bool
are_samplers(const json_t *v)
{
	json_t *ours = openai_samplers();
	bool equal = json_equal(ours, v);

	json_decref(ours);
	return equal || is_empty(v);
}

static bool
is_neutral(const json_t *v, const struct rule *r)
{
	switch (r->neutral) {
	case EMPTY:
		return is_empty(v);
	case SAMPLERS:
		return are_samplers(v);
	case FALSE:
		return json_is_false(v);
	case TRUE:
		return json_is_true(v);
	case NUMBER:	/* exactly this one, so nothing is nearly it */
		return json_is_number(v) && json_number_value(v) >= r->number &&
		    json_number_value(v) <= r->number;
	case NOT_ABOVE:
		return json_is_number(v) && json_number_value(v) <= r->number;
	case WORD:
		return is_word(v, r->words[0], r->words[1]);
	case NEVER:
		break;
	}
	return false;
}

static int
refuse_table(const json_t *body, const struct rule *rules, size_t n,
    struct err *e)
{
	const json_t *v;

	for (const struct rule *r = rules; r < rules + n; r++)
		if ((v = openai_member(body, r->name)) != NULL &&
		    !is_neutral(v, r))
			return err_set_param(e, ERR_UNSUPPORTED, r->name,
			    "'%s' is not offered%s", r->name, r->later ?
			    " yet: tools and structured output follow in a "
			    "later version" : " with this value");
	return 0;
}

static int
refuse_formats(const json_t *body, bool is_chat, struct err *e)
{
	const json_t *v = openai_member(body, "response_format");
	size_t i;
	json_t *m;

	if (v != NULL && !is_word(json_object_get(v, "type"), "text", "text"))
		return err_set_param(e, ERR_UNSUPPORTED, "response_format",
		    "'response_format' other than text is not offered yet: "
		    "structured output follows in a later version");
	if (!is_chat || (v = openai_member(body, "modalities")) == NULL)
		return 0;
	if (!json_is_array(v))
		return openai_not_offered(e, "modalities");
	json_array_foreach((json_t *)(uintptr_t)v, i, m)
		if (!is_word(m, "text", "text"))
			return err_set_param(e, ERR_UNSUPPORTED, "modalities",
			    "'modalities' other than text are not offered");
	return 0;
}

int
openai_refuse(const json_t *body, bool is_chat, struct err *e)
{
	int r;

	if ((r = refuse_table(body, both, sizeof(both) / sizeof(both[0]),
	    e)) != 0)
		return r;
	if (is_chat && (r = refuse_table(body, chat,
	    sizeof(chat) / sizeof(chat[0]), e)) != 0)
		return r;
	return refuse_formats(body, is_chat, e);
}

/*
 * What a tokenizer.json does to text before BPE: to flags and patterns.
 */
#include <string.h>

#include "tokenizer/load_hf.h"

static const char stand_in[] = "\xe2\x96\x81";	/* of a blank */

/* The String pattern of a Replace, or "". */
static const char *
replaces(const json_t *v)
{
	const char *s = json_string_value(json_object_get(
	    json_object_get(v, "pattern"), "String"));

	return s == NULL ? "" : s;
}

static int
read_normalizer(struct loader *l, const json_t *v, bool nested)
{
	const json_t *list = json_object_get(v, "normalizers");
	const char *type = hf_type_of(v), *text;
	int rc = 0;

	if (v == NULL || json_is_null(v))
		return 0;
	if (strcmp(type, "NFC") == 0) {
		l->t->flags |= TOKENIZER_NFC;
		return 0;
	}
	if (strcmp(type, "Prepend") == 0) {
		text = json_string_value(json_object_get(v, "prepend"));
		if (text == NULL || strcmp(text, stand_in) != 0)
			return hf_unsupported(l, "normalizer Prepend of", text);
		l->t->flags |= TOKENIZER_PREFIX;
		return 0;
	}
	if (strcmp(type, "Replace") == 0) {
		text = json_string_value(json_object_get(v, "content"));
		if (strcmp(replaces(v), " ") != 0 || text == NULL ||
		    strcmp(text, stand_in) != 0)
			return hf_unsupported(l, "normalizer Replace by", text);
		l->t->flags |= TOKENIZER_SPM;
		return 0;
	}
	if (strcmp(type, "Sequence") != 0 || !json_is_array(list))
		return hf_unsupported(l, "normalizer", type);
	if (nested)
		return hf_unsupported(l, "a normalizer within", "Sequence");
	for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
		rc = read_normalizer(l, json_array_get(list, i), true);
	return rc;
}

static int
read_metaspace(struct loader *l, const json_t *v)
{
	const char *with = json_string_value(json_object_get(v, "replacement"));
	const char *scheme =
	    json_string_value(json_object_get(v, "prepend_scheme"));
	unsigned flags = TOKENIZER_SPM;

	if (with == NULL || strcmp(with, stand_in) != 0)
		return hf_unsupported(l, "pre-tokenizer Metaspace's "
		    "replacement", with);
	if (l->t->flags & TOKENIZER_PREFIX)
		return hf_unsupported(l, "a Prepend and a", "Metaspace");
	if (scheme == NULL)	/* as older files say it */
		scheme = json_is_false(json_object_get(v,
		    "add_prefix_space")) ? "never" : "always";
	if (strcmp(scheme, "first") == 0)
		flags |= TOKENIZER_PREFIX_FIRST;
	else if (strcmp(scheme, "always") != 0 &&
	    strcmp(scheme, "never") != 0)
		return hf_unsupported(l, "pre-tokenizer Metaspace's "
		    "prepend_scheme", scheme);
	if (strcmp(scheme, "never") != 0)
		flags |= TOKENIZER_PREFIX;
	/* Added tokens meet blanks as they are, but after a Replace. */
	if (strcmp(scheme, "never") != 0 || !(l->t->flags & TOKENIZER_SPM))
		flags |= TOKENIZER_PREFIX_LATE;
	if (!json_is_false(json_object_get(v, "split")))
		flags |= TOKENIZER_SPLIT_BLANKS;
	l->t->flags |= flags;
	return 0;
}

static int
read_split(struct loader *l, const json_t *v)
{
	const json_t *pattern = json_object_get(v, "pattern");
	const json_t *regex = json_object_get(pattern, "Regex");
	const char *behavior =
	    json_string_value(json_object_get(v, "behavior"));

	if (!json_is_string(regex))
		return hf_unsupported(l, "pre-tokenizer Split's pattern",
		    "String");
	if (behavior == NULL || strcmp(behavior, "Isolated") != 0)
		return hf_unsupported(l, "pre-tokenizer Split's behavior",
		    behavior);
	if (json_is_true(json_object_get(v, "invert")))
		return hf_unsupported(l, "pre-tokenizer Split's", "invert");
	return tokenizer_add_pattern(l->t, json_string_value(regex),
	    json_string_length(regex), l->e);
}

static int
read_byte_level(struct loader *l, const json_t *v)
{
	/* Both are on unless they are said to be off. */
	if (!json_is_false(json_object_get(v, "add_prefix_space")))
		return hf_unsupported(l, "pre-tokenizer ByteLevel's",
		    "add_prefix_space");
	if (json_is_false(json_object_get(v, "use_regex")))
		return 0;
	/* It has none of its own: GPT-2's. */
	const char *pattern = preset_find("gpt-2")->pattern;

	return tokenizer_add_pattern(l->t, pattern, strlen(pattern), l->e);
}

/* Digits is Rust's char::is_numeric, Punctuation ASCII's and P. */
static int
read_class(struct loader *l, const json_t *v)
{
	bool digits = strcmp(hf_type_of(v), "Digits") == 0;
	const char *behavior =
	    json_string_value(json_object_get(v, "behavior"));
	const char *pattern;
	bool each;

	if (digits)
		each = json_is_true(json_object_get(v, "individual_digits"));
	else if (behavior == NULL || strcmp(behavior, "Isolated") == 0)
		each = true;
	else if (strcmp(behavior, "Contiguous") == 0)
		each = false;
	else
		return hf_unsupported(l, "pre-tokenizer Punctuation's "
		    "behavior", behavior);
	if (digits)
		pattern = each ? "\\p{N}" : "\\p{N}+";
	else
		pattern = each ? "[\\p{P}$+<=>^`|~]" : "[\\p{P}$+<=>^`|~]+";
	return tokenizer_add_pattern(l->t, pattern, strlen(pattern), l->e);
}

/* Splits, and at their end ByteLevel, which turns words into bytes. */
static int
read_pre_tokenizer(struct loader *l, const json_t *v)
{
	const json_t *list = json_object_get(v, "pretokenizers");
	size_t n = json_array_size(list);
	const char *type = hf_type_of(v);
	int rc = 0;

	if (strcmp(type, "ByteLevel") == 0)
		return read_byte_level(l, v);
	if (strcmp(type, "Metaspace") == 0)
		return read_metaspace(l, v);
	if ((v == NULL || json_is_null(v)) && l->t->flags & TOKENIZER_SPM)
		return 0;
	if (strcmp(type, "Sequence") != 0)
		return hf_unsupported(l, "pre-tokenizer", type);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		const json_t *part = json_array_get(list, i);
		bool last = i + 1 == n;

		type = hf_type_of(part);
		if (strcmp(type, "Split") == 0 && !last)
			rc = read_split(l, part);
		else if ((strcmp(type, "Digits") == 0 ||
		    strcmp(type, "Punctuation") == 0) && !last)
			rc = read_class(l, part);
		else if (strcmp(type, "ByteLevel") == 0 && last)
			rc = read_byte_level(l, part);
		else if (strcmp(type, "Metaspace") == 0 && n == 1)
			rc = read_metaspace(l, part);
		else
			rc = hf_unsupported(l, last ? "as the last "
			    "pre-tokenizer" : "before the last pre-tokenizer",
			    type);
	}
	return rc != 0 || n > 0 ? rc :
	    hf_unsupported(l, "pre-tokenizer", "Sequence of nothing");
}

/*
 * A TemplateProcessing that begins with a special token puts the BOS before
 * plain text.  The rest of it is a chat template's business.
 */
static void
read_post_processor(struct loader *l, const json_t *v)
{
	const json_t *list = json_object_get(v, "processors");
	const json_t *first = json_array_get(json_object_get(v, "single"), 0);

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *part = json_array_get(list, i);

		if (strcmp(hf_type_of(part), "TemplateProcessing") == 0)
			first = json_array_get(json_object_get(part, "single"),
			    0);
	}
	if (json_object_get(first, "SpecialToken") != NULL)
		l->t->flags |= TOKENIZER_ADD_BOS;
}

int
hf_read_steps(struct loader *l)
{
	int rc = read_normalizer(l, json_object_get(l->root, "normalizer"),
	    false);

	if (rc == 0)
		rc = read_pre_tokenizer(l, json_object_get(l->root,
		    "pre_tokenizer"));
	if (rc == 0 && (l->t->flags & (TOKENIZER_SPM | TOKENIZER_PREFIX)) ==
	    TOKENIZER_PREFIX)
		rc = hf_unsupported(l, "without Replace, normalizer",
		    "Prepend");
	if (rc == 0 && (l->t->flags & TOKENIZER_SPM) && l->t->n_patterns > 0)
		rc = hf_unsupported(l, "with blanks replaced, pre-tokenizer",
		    "ByteLevel");
	read_post_processor(l, json_object_get(l->root, "post_processor"));
	return rc;
}

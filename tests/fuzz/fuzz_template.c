/*
 * Any bytes as a chat template and as what people say.  A text has one canonical
 * form; the ids of a chat spell what is rendered, with as many control tokens as
 * a chat of nothing has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/template.h"
#include "tokenizer/template_canon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MESSAGES_MAX = 8 };

/* The 256 bytes as tokens, and the control tokens of all templates. */
static struct tokenizer *
make_tokenizer(void)
{
	static const char *const names[] = {
		"<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>",
		"<|end_header_id|>", "<|im_start|>", "<|im_end|>", "</s>",
		"<|endoftext|>",
	};
	struct tokenizer *t = NULL;
	struct buf json = { 0 };
	struct err e = { 0 };
	int next = 256;

	buf_adds(&json, "{\"added_tokens\": [");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		buf_printf(&json, "%s{\"id\": %zu, \"content\": \"%s\", \"special\": "
		    "true, \"normalized\": false}", i > 0 ? "," : "", 300 + i,
		    names[i]);
	buf_adds(&json, "], \"normalizer\": null, \"pre_tokenizer\": {\"type\": "
	    "\"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": true}, "
	    "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {");
	for (int c = 0; c < 256; c++) {
		int printable = (c >= 33 && c <= 126) ||
		    (c >= 161 && c <= 172) || c >= 174;

		buf_printf(&json, "%s\"\\u%04x\": %d", c == 0 ? "" : ",",
		    (unsigned)(printable ? c : next++), c);
	}
	buf_adds(&json, "}}}");
	if (tokenizer_from_json(json.data, json.len, &t, &e) != 0) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	buf_free(&json);
	return t;
}

static size_t
count_special(const struct tokenizer *t, const struct ids *ids)
{
	size_t n = 0;

	for (size_t i = 0; i < ids->n; i++)
		n += tokenizer_is_special(t, ids->v[i]);
	return n;
}

static void
check_chat(const struct template *tp, const struct tokenizer *t,
    struct message *m, size_t n, bool generation)
{
	struct buf text = { 0 }, spelled = { 0 };
	struct ids ids = { 0 }, none = { 0 };

	buf_adds(&text, "");
	buf_adds(&spelled, "");
	if (template_render(tp, m, n, generation, &text, NULL) != 0 ||
	    template_encode(tp, t, m, n, generation, &ids, NULL) != 0)
		abort();
	for (size_t i = 0; i < ids.n; i++) {
		size_t len;
		const char *bytes = tokenizer_bytes(t, ids.v[i], &len);

		buf_add(&spelled, bytes, len);
	}
	if (spelled.len != text.len ||
	    memcmp(spelled.data, text.data, text.len) != 0)
		abort();
	for (size_t i = 0; i < n; i++)
		m[i].content = "";
	if (template_encode(tp, t, m, n, generation, &none, NULL) != 0 ||
	    count_special(t, &ids) != count_special(t, &none))
		abort();
	buf_free(&text);
	buf_free(&spelled);
	ids_free(&ids);
	ids_free(&none);
}

/* Contents are what stands between NULs; a role is made of the first byte. */
static void
try_chat(const struct template *tp, const struct tokenizer *t, char *data,
    size_t n)
{
	static const char *const roles[] = { "user", "assistant", "system" };
	struct message m[MESSAGES_MAX];
	size_t n_m = 0;

	for (size_t i = 0; i < n && n_m < MESSAGES_MAX; i++) {
		size_t role = (unsigned char)data[i] % 3;

		i++;
		m[n_m++] = (struct message){ roles[role], data + i };
		i += strlen(data + i);
	}
	check_chat(tp, t, m, n_m, n % 2 == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct tokenizer *t;
	struct buf form = { 0 }, again = { 0 };
	char *names = strdup(template_names()), *at = names, *name;
	char *copy = calloc(1, n + 2);	/* two NULs: a role may be the last */
	bool recognised;

	if (names == NULL || copy == NULL)
		abort();
	if (t == NULL)
		t = make_tokenizer();
	memcpy(copy, data, n);
	template_recognise(copy, n, &recognised);
	if (template_canonical(copy, n, &form, NULL) == 0 &&
	    (template_canonical(copy, n, &again, NULL) != 0 ||
	    form.len != again.len))
		abort();
	for (int i = 0; (name = strsep(&at, ",")) != NULL; i++)
		if (n > 0 && i == data[0] % 10)
			try_chat(template_find(name + (*name == ' ')), t,
			    copy + 1, n - 1);
	buf_free(&form);
	buf_free(&again);
	free(names);
	free(copy);
	return 0;
}

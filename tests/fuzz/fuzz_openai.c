/*
 * A client's body, from bytes to the message for the worker.  The first byte
 * chooses chat, completion or embeddings.  What passes must be a generate that
 * proto/decode.h accepts; what does not must have a code and a sentence.
 */
#include <stdlib.h>

#include "decode.h"
#include "json.h"
#include "openai_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_generate(json_t *obj)
{
	struct decode_generate g;
	struct err e;

	json_object_set_new(obj, "id",
	    json_string("0123456789abcdef0123456789abcdef"));
	if (field_decode(decode_generate_fields(), sizeof(g), obj, &g, &e) != 0)
		abort();
	json_decref(obj);
}

static void
try_embedding(const json_t *body)
{
	struct openai_embedding q;
	struct err e = { 0 };
	int r = openai_parse_embedding(body, &q, &e);

	if (r != 0 && (e.code != r || e.text[0] == '\0' || q.inputs != NULL))
		abort();
	for (size_t i = 0; i < json_array_size(q.inputs); i++) {
		json_t *g = json_copy(q.generate);

		json_object_update(g, json_array_get(q.inputs, i));
		check_generate(g);
	}
	openai_embedding_free(&q);
}

static void
try_answer(const json_t *body, bool chat)
{
	struct openai_request q;
	struct err e = { 0 };
	int r = chat ? openai_parse_chat(body, &q, &e) :
	    openai_parse_completion(body, &q, &e);

	if (r != 0) {
		if (e.code != r || e.text[0] == '\0' || q.generate != NULL)
			abort();
		return;
	}
	if (json_array_size(q.prompts) * (size_t)q.best_of >
	    OPENAI_CHOICES_MAX || q.n > q.best_of)
		abort();
	for (size_t p = 0; p < json_array_size(q.prompts); p++)
		check_generate(openai_generate(&q, p, q.best_of - 1));
	openai_request_free(&q);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	json_t *body;

	if (n == 0 || json_guarded((const char *)data + 1, n - 1, &body,
	    NULL) != 0)
		return 0;
	if (data[0] % 3 == 2)
		try_embedding(body);
	else
		try_answer(body, data[0] % 3 == 0);
	json_decref(body);
	return 0;
}

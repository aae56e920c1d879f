/*
 * A client's body, from bytes to the message for the worker.  The first byte
 * chooses chat or completion.  What passes must be a generate that
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct openai_request q;
	struct err e = { 0 };
	json_t *body;
	int r;

	if (n == 0 || json_guarded((const char *)data + 1, n - 1, &body,
	    NULL) != 0)
		return 0;
	r = data[0] % 2 == 0 ? openai_parse_chat(body, &q, &e) :
	    openai_parse_completion(body, &q, &e);
	if (r != 0) {
		if (e.code != r || e.text[0] == '\0' || q.generate != NULL)
			abort();
	} else {
		for (size_t p = 0; p < json_array_size(q.prompts); p++)
			check_generate(openai_generate(&q, p, q.best_of - 1));
		openai_request_free(&q);
	}
	json_decref(body);
	return 0;
}

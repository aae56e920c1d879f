/* step_text: what it takes for a plain piece is what the objects say. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "step_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
compare(const struct step_piece *p)
{
	struct frame f = { .json = p->json, .n_json = p->n_json };
	struct decode_piece d;
	struct err e;

	if (frame_load(&f, &e) != 0 ||
	    field_decode(decode_piece_fields(), sizeof(d), f.obj, &d, &e) != 0 ||
	    strcmp(d.id, p->id) != 0 || d.seq != p->seq || strlen(d.text) != p->n_text ||
	    memcmp(d.text, p->text, p->n_text) != 0 || d.finish[0] != '\0' ||
	    d.vector[0] != '\0' || json_object_size(d.stats) != 0 ||
	    json_array_size(d.logprobs) != 0 || json_array_size(d.prompt_logprobs) != 0 ||
	    json_array_size(d.tokens) != (size_t)p->n_tokens)
		abort();
	for (int i = 0; i < p->n_tokens; i++)
		if (json_integer_value(json_array_get(d.tokens, (size_t)i)) != p->tokens[i])
			abort();
	frame_free(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct step_text t = { 0 };
	struct step_piece p;

	if (step_text_begin(&t, (const char *)data, n))
		while (step_text_next(&t, &p) == STEP_TEXT_PIECE)
			if (p.plain)
				compare(&p);
	step_text_finish(&t);
	return 0;
}

/*
 * Messages of decode.sock: the first byte chooses the type, the rest is the JSON.
 * What is taken runs for a few steps, so that what was checked too little shows.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "frame.h"
#include "request.h"
#include "unit.h"

enum { N_VOCAB = 258, N_CTX = 128, N_STEPS = 3 };

static struct service sv;
static int64_t now_us = 1;

static int64_t
clock_us(void *arg)
{
	(void)arg;
	return now_us += 1000;
}

static void
on_step(void *arg, int64_t step, json_t *events)
{
	(void)arg;
	(void)step;
	(void)events;
}

static int
forward(struct backend *b, const struct backend_row *rows, int n,
    float *logits, struct err *e)
{
	(void)b;
	(void)e;
	for (int i = 0; i < n; i++)
		if (rows[i].want_logits)
			for (int k = 0; k < N_VOCAB; k++)
				*logits++ = (float)((k * 37 + rows[i].token +
				    rows[i].pos) % 101) / 10;
	return 0;
}

/* Nothing is kept of a page, so there is nothing to copy. */
static int
copy_page(struct backend *b, int32_t from, int32_t to, int n, struct err *e)
{
	(void)b;
	(void)from;
	(void)to;
	(void)n;
	(void)e;
	return 0;
}

/* A token for each byte, spelled as GPT-2 does, and two special ones. */
static struct tokenizer *
make_tokenizer(void)
{
	json_t *vocab = json_object(), *root;
	struct tokenizer *t = NULL;
	int other = 256;
	struct err e;
	char *text;

	for (int c = 0; c < 256; c++) {
		int cp = (c >= 33 && c <= 126) || (c >= 161 && c <= 172) ||
		    c >= 174 ? c : other++;
		char utf8[3] = { (char)cp, 0, 0 };

		if (cp >= 128) {
			utf8[0] = (char)(0xC0 | cp >> 6);
			utf8[1] = (char)(0x80 | (cp & 63));
		}
		json_object_set_new(vocab, utf8, json_integer(c));
	}
	root = json_pack("{s:[{s:i, s:s, s:b}, {s:i, s:s, s:b}], s:{s:s, s:b, "
	    "s:b}, s:{s:s, s:o, s:[]}}", "added_tokens", "id", 256, "content",
	    "<eos>", "special", 1, "id", 257, "content", "<bos>", "special", 1,
	    "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0,
	    "use_regex", 1, "model", "type", "BPE", "vocab", vocab, "merges");
	text = json_dumps(root, 0);
	if (tokenizer_from_json(text, strlen(text), &t, &e) != 0)
		abort();
	free(text);
	json_decref(root);
	return t;
}

static void
start(void)
{
	struct engine_config c = { .backend = &sv.backend, .boot = sv.boot,
		.n_slots = 2, .queue_max = 4, .n_pages = 2 * N_CTX / KV_PAGE,
		.step_rows = 64, .prefill_rows = 16, .queue_tokens = 2048,
		.prefix_cache = true, .clock_us = clock_us, .on_step = on_step };
	struct err e;

	strcpy(sv.boot, "0123456789abcdef");
	sv.backend = (struct backend){ .name = "fuzz", .forward = forward,
		.copy_page = copy_page };
	sv.model.config = (struct model_config){ .vocab = N_VOCAB,
		.n_ctx = N_CTX, .bos = 257, .eos = { 256 }, .n_eos = 1 };
	strcpy(sv.model.architecture, "fuzz");
	strcpy(sv.model.fingerprint, "00");
	sv.model.n_params = (int64_t)(sv.model.map_size = 1);
	sv.tokenizer = make_tokenizer();
	sv.template = template_find("bitnet");
	sv.model_id = "fuzz";
	sv.n_ctx = N_CTX;
	sv.options.slots = 2;
	sv.options.model = "fuzz.h1b";
	c.job = (struct job_context){ &sv.model.config, sv.tokenizer, N_CTX };
	if (engine_create(&c, &sv.engine, &e) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t types[] = { DECODE_TYPE_generate,
		DECODE_TYPE_cancel, DECODE_TYPE_replay, DECODE_TYPE_ack,
		DECODE_TYPE_tokenize, DECODE_TYPE_detokenize,
		DECODE_TYPE_model_info, UNIT_TYPE_health, UNIT_TYPE_stats };
	struct frame request = { 0 }, reply = { 0 };
	bool worked = true;
	struct err e;

	if (sv.engine == NULL)
		start();
	if (size < 1)
		return 0;
	request.type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
	request.obj = json_loadb((const char *)data + 1, size - 1,
	    JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(request.obj)) {
		json_decref(request.obj);
		return 0;
	}
	request_answer(&sv, &request, &reply);
	if (reply.obj == NULL)
		abort();
	frame_free(&request);
	frame_free(&reply);
	for (int i = 0; i < N_STEPS && worked; i++)
		if (engine_step(sv.engine, &worked, &e) != 0)
			abort();
	return 0;
}

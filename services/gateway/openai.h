#ifndef GATEWAY_OPENAI_H
#define GATEWAY_OPENAI_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "buf.h"
#include "err.h"
#include "pieces.h"

/*
 * The objects that OpenAI's clients expect, made from the worker's pieces: a
 * chat.completion, its chunks, a text_completion.  What all chunks of an answer
 * share is set once.  Functions that return json_t give a new reference, or
 * NULL if memory is short.  Any thread, each its own answer.
 */
struct openai_answer {
	bool chat;		/* else a text_completion */
	bool logprobs;		/* show them */
	bool include_usage;	/* in a stream: its own chunk, and null before */
	char id[40];		/* chatcmpl-… or cmpl-… */
	int64_t created;	/* Unix time, s */
	char model[257];
	char fingerprint[16];	/* fp_… */
	int64_t text_offset;	/* characters before the next token */
};

/* What a finish piece's stats say; missing numbers are 0. */
struct openai_usage {
	int64_t n_prompt, n_cached, n_generated;	/* tokens */
	double prefill_ms, decode_ms;
};

/* Id, time, model and fingerprint (hex, of the weights). */
void openai_answer_init(struct openai_answer *a, bool chat, const char *model,
    const char *fingerprint);

void openai_usage_read(const json_t *stats, struct openai_usage *u);

/* "stop" or "length" as it is; NULL for what is no end of a text: an error. */
const char *openai_finish(const char *finish);

/*
 * Chunks.  The first of a chat names the role; text has one piece's text and
 * logprobs (array of decode_piece's, or NULL); last has the finish reason, and
 * usage and timings if there is no chunk for those; usage is that chunk.
 */
json_t *openai_chunk_first(const struct openai_answer *a);
json_t *openai_chunk_text(struct openai_answer *a, const char *text,
    const json_t *logprobs);
json_t *openai_chunk_last(const struct openai_answer *a, const char *finish,
    const struct openai_usage *u);
json_t *openai_chunk_usage(const struct openai_answer *a,
    const struct openai_usage *u);

/* The whole answer at once; logprobs: of all its pieces, or NULL. */
json_t *openai_whole(struct openai_answer *a, const char *text, size_t n_text,
    const json_t *logprobs, const char *finish, const struct openai_usage *u);

/* Append "data: <v>\n\n" to out; v is released (NULL makes out failed). */
void openai_event(struct buf *out, json_t *v);

/* openai_logprobs.c: the worker's logprobs in OpenAI's two forms. */
json_t *openai_logprobs_chat(const json_t *logprobs);
json_t *openai_logprobs_completion(const json_t *logprobs,
    int64_t *text_offset);

#endif

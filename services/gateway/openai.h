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
};

/* One of the answers. */
struct openai_choice {
	int index;
	int64_t text_offset;	/* whole characters in the text so far */
	char cut[4];		/* the n_cut bytes after them, of one character */
	size_t n_cut;
};

/* Some text of it, UTF-8, NUL-terminated. */
struct openai_part {
	const char *said;
	size_t n_said;
	const char *thought;	/* of a chat */
	size_t n_thought;
};

/* What a finish piece's stats say; missing numbers are 0. */
struct openai_usage {
	int64_t n_prompt, n_cached, n_generated;	/* tokens */
	int64_t n_reasoning;	/* of those generated; not of the stats */
	int64_t n_drafted, n_accepted;	/* guesses, and right ones */
	double prefill_ms, decode_ms;
};

/* How far a prompt is: prompt_progress of llama-server. */
struct openai_progress {
	int64_t n_prompt, n_cached, n_done;	/* tokens */
	double ms;
};

/* Id, time, model and fingerprint (hex, of the weights). */
void openai_answer_init(struct openai_answer *a, bool chat, const char *model,
    const char *fingerprint);

void openai_usage_read(const json_t *stats, struct openai_usage *u);

/* Add one answer's to all's; with_prompt: its prompt was not counted yet. */
void openai_usage_add(struct openai_usage *all, const struct openai_usage *one,
    bool with_prompt);

/* "stop" or "length" as it is; NULL for what is no end of a text: an error. */
const char *openai_finish(const char *finish);

/*
 * Chunks.  The first of a chat names the role; text has one piece's text and
 * logprobs (array of decode_piece's, or NULL); last has the finish reason, and
 * timings if there is no chunk for those; usage is that chunk; progress has no
 * text.
 */
json_t *openai_chunk_first(const struct openai_answer *a, int index);
json_t *openai_chunk_text(const struct openai_answer *a,
    struct openai_choice *c, const struct openai_part *text,
    const json_t *logprobs);
json_t *openai_chunk_last(const struct openai_answer *a, int index,
    const char *finish, const struct openai_usage *u);
json_t *openai_chunk_usage(const struct openai_answer *a,
    const struct openai_usage *u);
json_t *openai_chunk_progress(const struct openai_answer *a, int index,
    const struct openai_progress *p);

/* llama-server's timings, in v as well. */
void openai_add_timings(json_t *v, const struct openai_usage *u);

/* One answer at once; logprobs: of all its pieces, or NULL. */
json_t *openai_whole_choice(const struct openai_answer *a,
    struct openai_choice *c, const struct openai_part *text,
    const json_t *logprobs, const char *finish);

/* All of them, in choices (an array, released). */
json_t *openai_whole(const struct openai_answer *a, json_t *choices,
    const struct openai_usage *u);

/* Append "data: <v>\n\n" to out; v is released (NULL makes out failed). */
void openai_event(struct buf *out, json_t *v);

/* openai_logprobs.c: the worker's logprobs in OpenAI's two forms; a completion's
 * tokens are counted in c. */
json_t *openai_logprobs_chat(const json_t *logprobs);
json_t *openai_logprobs_completion(const json_t *logprobs,
    struct openai_choice *c);

#endif

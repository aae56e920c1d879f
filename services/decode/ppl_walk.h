#ifndef DECODE_PPL_WALK_H
#define DECODE_PPL_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "err.h"

/*
 * A text in windows, each from an empty cache, through one or two backends.
 * Which tokens of a window count is the protocol:
 *
 *	full		windows side by side, tokens 1..context-1 of each, as in
 *			papers; what is left at the end, less than a window,
 *			counts only if there is no whole one
 *	llama		llama-perplexity: windows side by side, the first token of
 *			each replaced by BOS if the tokenizer adds it, tokens
 *			context/2+1..context-1; the rest is left out
 *	stride:S	windows that begin S tokens apart, to the end of the text;
 *			of each the tokens that none before it had
 */
enum ppl_protocol { PPL_FULL, PPL_LLAMA, PPL_STRIDE };

enum { PPL_CONTEXT = 512 };	/* the usual window */

struct ppl_walk {
	enum ppl_protocol protocol;
	int32_t stride;		/* of PPL_STRIDE: 1..context */
	int32_t context;	/* tokens of a window, 2..n_ctx; 0: PPL_CONTEXT */
	int32_t n_windows;	/* at most; 0: all */
	int32_t n_ctx, n_pages, max_rows;	/* of struct backend_options */
	int32_t vocab;		/* of every backend */
	int32_t bos;		/* what the tokenizer adds, or -1 */
	struct backend *backends[2];	/* [1] may be NULL */
	/*
	 * For each token that counts: logits[i] [vocab] of backends[i], from which
	 * it was to be predicted.
	 */
	void (*token)(void *arg, const float *const logits[2], int32_t id);
	/* After each window.  May be NULL. */
	void (*window)(void *arg, int64_t done, int64_t total);
	void *arg;
};

/*
 * Text "full", "llama" or "stride:S".  ERR_RANGE if it is none of them.
 */
int ppl_protocol_parse(const char *text, enum ppl_protocol *protocol,
    int32_t *stride, struct err *e);

/*
 * Walk ids [n].  ERR_RANGE if the context exceeds what the backends were opened
 * for, the stride exceeds the context, or the text is too short: 2 tokens, or a
 * window of llama's; ERR_NO_MEMORY; what forward returns.
 */
int ppl_walk(const struct ppl_walk *w, const int32_t *ids, int64_t n,
    struct err *e);

/* -log softmax(logits [vocab])[id] in nats. */
double ppl_nll(const float *logits, int32_t vocab, int32_t id);

#endif

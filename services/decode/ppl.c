#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "buf.h"
#include "ppl.h"

/* Logits of a piece of a window: at most this many bytes. */
enum { LOGITS_MAX = 64 << 20 };

struct run {
	const struct model *m;
	struct backend *b;
	int32_t context, chunk;
	int32_t *pages;		/* [context / KV_PAGE] */
	struct backend_row *rows;	/* [chunk] */
	float *logits;		/* [chunk, vocab] */
	double nll;		/* sum */
	int64_t tokens;
};

/* -log softmax(logits)[id] */
static double
nll_of(const float *logits, int32_t vocab, int32_t id)
{
	double sum = 0, max = (double)logits[0];

	for (int32_t i = 1; i < vocab; i++)
		max = (double)logits[i] > max ? (double)logits[i] : max;
	for (int32_t i = 0; i < vocab; i++)
		sum += exp((double)logits[i] - max);
	return log(sum) + max - (double)logits[id];
}

/* One window: ids [n], from an empty cache. */
static int
window(struct run *u, const int32_t *ids, int32_t n, struct err *e)
{
	int32_t vocab = u->m->config.vocab;

	/* The last token predicts nothing. */
	for (int32_t at = 0; at < n - 1; at += u->chunk) {
		int32_t k = n - 1 - at < u->chunk ? n - 1 - at : u->chunk;
		int r;

		for (int32_t i = 0; i < k; i++)
			u->rows[i] = (struct backend_row){
				.token = ids[at + i], .pos = at + i,
				.pages = u->pages, .want_logits = true,
			};
		r = u->b->forward(u->b, u->rows, k, u->logits, e);
		if (r != 0)
			return r;
		for (int32_t i = 0; i < k; i++)
			u->nll += nll_of(u->logits + (size_t)i * (size_t)vocab,
			    vocab, ids[at + i + 1]);
		u->tokens += k;
	}
	return 0;
}

static void
show(const struct run *u, int64_t done, int64_t n, int64_t began_ms)
{
	int64_t left = done > 0 ? (clock_ms() - began_ms) * (n - done) / done : 0;

	fprintf(stderr, "\rwindow %" PRId64 " of %" PRId64 ", perplexity %.4f, "
	    "%" PRId64 " s left   %s", done, n,
	    u->tokens > 0 ? exp(u->nll / (double)u->tokens) : 0.0, left / 1000,
	    done == n ? "\n" : "");
}

static int
check(const struct ppl_options *o, int32_t context, int64_t n, struct err *e)
{
	int64_t room = (int64_t)o->n_pages * KV_PAGE;

	room = room < o->n_ctx ? room : o->n_ctx;
	if (context < 2 || context > room)
		return err_set(e, ERR_RANGE, "windows of %d tokens; 2 to %"
		    PRId64 " fit the context", (int)context, room);
	if (n < 2)
		return err_set(e, ERR_RANGE, "the text has %" PRId64 " token%s; "
		    "a perplexity needs 2", n, n == 1 ? "" : "s");
	return 0;
}

static int
take(struct run *u, const struct ppl_options *o, struct err *e)
{
	int64_t fit = LOGITS_MAX / ((int64_t)u->m->config.vocab * 4);
	int32_t n_pages = (u->context + KV_PAGE - 1) / KV_PAGE;

	u->chunk = o->max_rows < fit ? o->max_rows : fit < 1 ? 1 : (int32_t)fit;
	u->pages = calloc((size_t)n_pages, sizeof(*u->pages));
	u->rows = calloc((size_t)u->chunk, sizeof(*u->rows));
	u->logits = calloc((size_t)u->chunk * (size_t)u->m->config.vocab,
	    sizeof(*u->logits));
	if (u->pages == NULL || u->rows == NULL || u->logits == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the logits of %d "
		    "rows", (int)u->chunk);
	for (int32_t p = 0; p < n_pages; p++)
		u->pages[p] = p;
	return 0;
}

int
ppl_measure(const struct ppl_options *o, const struct model *m,
    const int32_t *ids, int64_t n, struct backend *b, struct ppl_result *result,
    struct err *e)
{
	struct run u = { .m = m, .b = b,
		.context = o->context == 0 ? PPL_CONTEXT : o->context };
	int64_t n_windows = n / u.context, began = clock_ms();
	int r = check(o, u.context, n, e);

	if (r == 0)
		r = take(&u, o, e);
	if (r == 0 && n_windows == 0)
		r = window(&u, ids, (int32_t)n, e);
	if (o->n_windows > 0 && n_windows > o->n_windows)
		n_windows = o->n_windows;
	for (int64_t w = 0; w < n_windows && r == 0; w++) {
		r = window(&u, ids + w * u.context, u.context, e);
		if (o->progress && r == 0)
			show(&u, w + 1, n_windows, began);
	}
	if (r == 0)
		*result = (struct ppl_result){ .tokens = u.tokens,
			.nll_mean = u.nll / (double)u.tokens,
			.ppl = exp(u.nll / (double)u.tokens) };
	free(u.pages);
	free(u.rows);
	free(u.logits);
	return r;
}

static int
read_file(const char *path, struct buf *text, struct err *e)
{
	FILE *fp = fopen(path, "rb");
	char piece[4096];
	size_t n;
	int failed;

	if (fp == NULL)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM,
		    "%s: %s", path, strerror(errno));
	errno = 0;
	while ((n = fread(piece, 1, sizeof(piece), fp)) > 0)
		buf_add(text, piece, n);
	failed = ferror(fp) ? errno : 0;
	fclose(fp);
	if (failed != 0)
		return err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(failed));
	if (text->failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for %s", path);
	return 0;
}

int
ppl_run(const struct ppl_options *o, const struct model *m,
    const struct tokenizer *t, struct backend *b, FILE *out, struct err *e)
{
	struct ppl_result result;
	struct buf text = { 0 };
	struct ids ids = { 0 };
	int r = read_file(o->path, &text, e);

	if (r == 0 && m->config.bos >= 0 && ids_add(&ids, m->config.bos) != 0)
		r = err_set(e, ERR_NO_MEMORY, "no memory for the tokens");
	if (r == 0)
		r = tokenizer_encode(t, text.data, text.len, true, &ids, e);
	if (r == 0)
		r = ppl_measure(o, m, ids.v, (int64_t)ids.n, b, &result, e);
	if (r == 0)
		fprintf(out, o->json ?
		    "{\"tokens\":%" PRId64 ",\"nll_mean\":%.9g,\"ppl\":%.9g}\n" :
		    "%" PRId64 " tokens, mean nll %.6f, perplexity %.4f\n",
		    result.tokens, result.nll_mean, result.ppl);
	buf_free(&text);
	ids_free(&ids);
	return r;
}

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "ppl_walk.h"

/* Logits of a piece of a window, of one backend: at most this many bytes. */
enum { LOGITS_MAX = 64 << 20 };

struct run {
	const struct ppl_walk *w;
	int32_t context, chunk;
	int32_t *ids;		/* [context], of the window */
	int32_t *pages;		/* [context / KV_PAGE] */
	struct backend_row *rows;	/* [chunk] */
	float *logits[2];	/* [chunk, vocab] */
};

int
ppl_protocol_parse(const char *text, enum ppl_protocol *protocol,
    int32_t *stride, struct err *e)
{
	static const char prefix[] = "stride:";
	char *end;
	long n;

	*stride = 0;
	if (strcmp(text, "full") == 0) {
		*protocol = PPL_FULL;
		return 0;
	}
	if (strcmp(text, "llama") == 0) {
		*protocol = PPL_LLAMA;
		return 0;
	}
	if (strncmp(text, prefix, sizeof(prefix) - 1) == 0 &&
	    text[sizeof(prefix) - 1] >= '0' && text[sizeof(prefix) - 1] <= '9') {
		n = strtol(text + sizeof(prefix) - 1, &end, 10);
		if (*end == '\0' && n >= 1 && n <= MODEL_CTX_MAX) {
			*protocol = PPL_STRIDE;
			*stride = (int32_t)n;
			return 0;
		}
	}
	return err_set(e, ERR_RANGE, "'%.40s' is no protocol of perplexity: full, "
	    "llama, or stride:S with S tokens from 1 to %d", text,
	    (int)MODEL_CTX_MAX);
}

double
ppl_nll(const float *logits, int32_t vocab, int32_t id)
{
	double sum = 0, max = (double)logits[0];

	for (int32_t i = 1; i < vocab; i++)
		max = (double)logits[i] > max ? (double)logits[i] : max;
	for (int32_t i = 0; i < vocab; i++)
		sum += exp((double)logits[i] - max);
	return log(sum) + max - (double)logits[id];
}

/* u->ids [n] from an empty cache; tokens first..n-1 count. */
static int
window(struct run *u, int32_t n, int32_t first, struct err *e)
{
	const struct ppl_walk *w = u->w;

	/* The last token predicts nothing. */
	for (int32_t at = 0; at < n - 1; at += u->chunk) {
		int32_t k = n - 1 - at < u->chunk ? n - 1 - at : u->chunk;
		size_t out = 0;
		int r = 0;

		for (int32_t i = 0; i < k; i++)
			u->rows[i] = (struct backend_row){
				.token = u->ids[at + i], .pos = at + i,
				.pages = u->pages,
				.want_logits = at + i + 1 >= first,
			};
		for (int b = 0; b < 2 && w->backends[b] != NULL && r == 0; b++)
			r = w->backends[b]->forward(w->backends[b], u->rows, k,
			    u->logits[b], e);
		if (r != 0)
			return r;
		for (int32_t i = 0; i < k; i++) {
			const float *logits[2] = {
				u->logits[0] + out * (size_t)w->vocab,
				w->backends[1] == NULL ? NULL :
				    u->logits[1] + out * (size_t)w->vocab,
			};

			if (!u->rows[i].want_logits)
				continue;
			w->token(w->arg, logits, u->ids[at + i + 1]);
			out++;
		}
	}
	return 0;
}

/* How many windows; the k-th begins at k * *step. */
static int64_t
count(const struct ppl_walk *w, int64_t n, int32_t context, int64_t *step)
{
	int64_t windows = n / context;

	*step = context;
	if (w->protocol == PPL_STRIDE) {
		*step = w->stride;
		windows = n <= context ? 1 :
		    1 + (n - context + w->stride - 1) / w->stride;
	} else if (w->protocol == PPL_FULL && windows == 0) {
		windows = 1;
	}
	return w->n_windows > 0 && windows > w->n_windows ? w->n_windows :
	    windows;
}

static int
check(const struct ppl_walk *w, int32_t context, int64_t n, struct err *e)
{
	int64_t room = (int64_t)w->n_pages * KV_PAGE;

	room = room < w->n_ctx ? room : w->n_ctx;
	if (context < 2)
		return err_set(e, ERR_RANGE, "windows of %d token; one has to "
		    "predict another: 2 or more", (int)context);
	if (context > room)
		return err_set(e, ERR_RANGE, "windows of %d tokens; 2 to %"
		    PRId64 " fit the context", (int)context, room);
	if (w->protocol == PPL_STRIDE && (w->stride < 1 || w->stride > context))
		return err_set(e, ERR_RANGE, "a stride of %d tokens; 1 to %d fit "
		    "the window", (int)w->stride, (int)context);
	if (w->protocol == PPL_LLAMA && n < context)
		return err_set(e, ERR_RANGE, "the text has %" PRId64 " token%s; "
		    "a window of %d is needed", n, n == 1 ? "" : "s",
		    (int)context);
	if (w->protocol == PPL_LLAMA && context < 4)
		return err_set(e, ERR_RANGE, "windows of %d tokens; half of one "
		    "has to predict something: 4 or more", (int)context);
	if (n < 2)
		return err_set(e, ERR_RANGE, "the text has %" PRId64 " token%s; "
		    "a perplexity needs 2", n, n == 1 ? "" : "s");
	return 0;
}

static int
take(struct run *u, struct err *e)
{
	const struct ppl_walk *w = u->w;
	int64_t fit = LOGITS_MAX / ((int64_t)w->vocab * 4);
	int32_t n_pages = (u->context + KV_PAGE - 1) / KV_PAGE;
	size_t n;

	u->chunk = w->max_rows < fit ? w->max_rows : fit < 1 ? 1 : (int32_t)fit;
	n = (size_t)u->chunk * (size_t)w->vocab;
	u->ids = calloc((size_t)u->context, sizeof(*u->ids));
	u->pages = calloc((size_t)n_pages, sizeof(*u->pages));
	u->rows = calloc((size_t)u->chunk, sizeof(*u->rows));
	for (int b = 0; b < 2 && w->backends[b] != NULL; b++)
		if ((u->logits[b] = calloc(n, sizeof(float))) == NULL)
			n = 0;
	if (n == 0 || u->ids == NULL || u->pages == NULL || u->rows == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the logits of %d "
		    "rows", (int)u->chunk);
	for (int32_t p = 0; p < n_pages; p++)
		u->pages[p] = p;
	return 0;
}

int
ppl_walk(const struct ppl_walk *w, const int32_t *ids, int64_t n,
    struct err *e)
{
	struct run u = { .w = w,
		.context = w->context == 0 ? PPL_CONTEXT : w->context };
	int64_t step, windows, done = 0;	/* tokens that some window had */
	int r;

	if ((r = check(w, u.context, n, e)) != 0 || (r = take(&u, e)) != 0)
		goto out;
	windows = count(w, n, u.context, &step);
	for (int64_t k = 0; k < windows && r == 0; k++) {
		int64_t at = k * step, first = 1;
		int32_t len = n - at < u.context ? (int32_t)(n - at) : u.context;

		memcpy(u.ids, ids + at, (size_t)len * sizeof(*ids));
		if (w->protocol == PPL_LLAMA) {
			first = len / 2 + 1;
			if (w->bos >= 0)
				u.ids[0] = w->bos;
		} else if (w->protocol == PPL_STRIDE && done - at > first) {
			first = done - at;
		}
		done = at + len;
		r = window(&u, len, (int32_t)first, e);
		if (r == 0 && w->window != NULL)
			w->window(w->arg, k + 1, windows);
	}
out:
	free(u.ids);
	free(u.pages);
	free(u.rows);
	free(u.logits[0]);
	free(u.logits[1]);
	return r;
}

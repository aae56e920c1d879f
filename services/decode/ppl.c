#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "clock.h"
#include "file.h"
#include "ppl.h"

struct sums {
	int32_t vocab;
	int64_t tokens, windows;
	double nll, nll2;	/* sums of it and its square */
	bool progress;
	int64_t began_ms;
};

void
ppl_protocol_name(enum ppl_protocol protocol, int32_t stride, char text[24])
{
	if (protocol == PPL_STRIDE)
		snprintf(text, 24, "stride:%d", (int)stride);
	else
		snprintf(text, 24, "%s", protocol == PPL_LLAMA ? "llama" : "full");
}

void
ppl_show(int64_t done, int64_t total, double nll_mean, int64_t began_ms)
{
	int64_t left = (clock_ms() - began_ms) * (total - done) / done;

	fprintf(stderr, "\rwindow %" PRId64 " of %" PRId64 ", perplexity %.4f, "
	    "%" PRId64 " s left   %s", done, total, exp(nll_mean), left / 1000,
	    done == total ? "\n" : "");
}

static void
on_token(void *arg, const float *const logits[2], int32_t id)
{
	struct sums *s = arg;
	double nll = ppl_nll(logits[0], s->vocab, id);

	s->nll += nll;
	s->nll2 += nll * nll;
	s->tokens++;
}

static void
on_window(void *arg, int64_t done, int64_t total)
{
	struct sums *s = arg;

	s->windows = done;
	if (s->progress)
		ppl_show(done, total, s->nll / (double)s->tokens, s->began_ms);
}

int
ppl_measure(const struct ppl_options *o, const struct model *m,
    const int32_t *ids, int64_t n, int32_t bos, struct backend *b,
    struct ppl_result *result, struct err *e)
{
	struct sums s = { .vocab = m->config.vocab, .progress = o->progress,
		.began_ms = clock_ms() };
	struct ppl_walk w = { .protocol = o->protocol, .stride = o->stride,
		.context = o->context, .n_windows = o->n_windows,
		.n_ctx = o->n_ctx, .n_pages = o->n_pages,
		.max_rows = o->max_rows, .vocab = m->config.vocab, .bos = bos,
		.backends = { b }, .token = on_token, .window = on_window,
		.arg = &s };
	double mean, variance;
	int r;

	if ((r = ppl_walk(&w, ids, n, e)) != 0)
		return r;
	mean = s.nll / (double)s.tokens;
	if (!isfinite(mean))
		return err_set(e, ERR_BAD_FILE, "the model's logits are not finite");
	variance = s.nll2 / (double)s.tokens - mean * mean;
	*result = (struct ppl_result){ .tokens = s.tokens, .windows = s.windows,
		.nll_mean = mean, .ppl = exp(mean) };
	if (variance > 0 && s.tokens > 1)
		result->ppl_error = result->ppl *
		    sqrt(variance / (double)(s.tokens - 1));
	return 0;
}

int
ppl_encode(const struct buf *text, const struct model *m,
    const struct tokenizer *t, struct ids *ids, int32_t *bos, struct err *e)
{
	int r;

	*bos = m->config.bos >= 0 && tokenizer_add_bos(t) ? m->config.bos : -1;
	if (*bos >= 0 && ids_add(ids, *bos) != 0)
		return err_set(e, ERR_NO_MEMORY, "no memory for the tokens");
	r = tokenizer_encode(t, text->data, text->len, true, ids, e);
	for (size_t i = 0; r == 0 && i < ids->n; i++)
		if (ids->v[i] < 0 || ids->v[i] >= m->config.vocab)
			r = err_set(e, ERR_RANGE, "the text has token %d, the "
			    "model %d of them", (int)ids->v[i],
			    (int)m->config.vocab);
	return r;
}

int
ppl_run(const struct ppl_options *o, const struct model *m,
    const struct tokenizer *t, struct backend *b, FILE *out, struct err *e)
{
	struct ppl_result result;
	struct buf text = { 0 };
	struct ids ids = { 0 };
	char protocol[24];
	int32_t bos;
	int r;

	if ((r = file_read(o->path, PPL_TEXT_MAX, &text, e)) == 0 &&
	    (r = ppl_encode(&text, m, t, &ids, &bos, e)) == 0)
		r = ppl_measure(o, m, ids.v, (int64_t)ids.n, bos, b, &result, e);
	ids_free(&ids);
	buf_free(&text);
	if (r != 0)
		return r;
	ppl_protocol_name(o->protocol, o->stride, protocol);
	if (o->json)
		fprintf(out, "{\"tokens\":%" PRId64 ",\"nll_mean\":%.9g,"
		    "\"ppl\":%.9g,\"ppl_error\":%.6g,\"protocol\":\"%s\","
		    "\"context\":%d,\"windows\":%" PRId64 "}\n", result.tokens,
		    result.nll_mean, result.ppl, result.ppl_error, protocol,
		    (int)(o->context == 0 ? PPL_CONTEXT : o->context),
		    result.windows);
	else
		fprintf(out, "%" PRId64 " tokens, mean nll %.6f, perplexity %.4f "
		    "+/- %.4f (%s, %" PRId64 " windows of %d)\n", result.tokens,
		    result.nll_mean, result.ppl, result.ppl_error, protocol,
		    result.windows,
		    (int)(o->context == 0 ? PPL_CONTEXT : o->context));
	return 0;
}

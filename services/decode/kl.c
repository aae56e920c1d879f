#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "buf.h"
#include "clock.h"
#include "file.h"
#include "kl.h"

struct sums {
	struct kl_result r;
	int32_t vocab;
	int64_t agreed;
	double kl, nll, nll_reference;
	bool progress;
	int64_t began_ms;
};

/* log of the sum of exp(logits), and where the largest of them is. */
static double
log_sum(const float *logits, int32_t vocab, int32_t *best)
{
	double sum = 0;

	*best = 0;
	for (int32_t i = 1; i < vocab; i++)
		if (logits[i] > logits[*best])
			*best = i;
	for (int32_t i = 0; i < vocab; i++)
		sum += exp((double)logits[i] - (double)logits[*best]);
	return log(sum) + (double)logits[*best];
}

static void
on_token(void *arg, const float *const logits[2], int32_t id)
{
	struct sums *s = arg;
	const float *q = logits[0], *p = logits[1];
	int32_t best_q, best_p;
	double zq = log_sum(q, s->vocab, &best_q);
	double zp = log_sum(p, s->vocab, &best_p), kl = 0;

	for (int32_t i = 0; i < s->vocab; i++) {
		double log_p = (double)p[i] - zp, log_q = (double)q[i] - zq;

		kl += exp(log_p) * (log_p - log_q);
	}
	s->kl += kl;
	if (kl > s->r.kl_max || s->r.tokens == 0) {
		s->r.kl_max = kl;
		s->r.kl_max_at = s->r.tokens;
	}
	s->agreed += best_p == best_q;
	s->nll += zq - (double)q[id];
	s->nll_reference += zp - (double)p[id];
	s->r.tokens++;
}

static void
on_window(void *arg, int64_t done, int64_t total)
{
	struct sums *s = arg;

	if (s->progress)
		ppl_show(done, total, s->nll / (double)s->r.tokens, s->began_ms);
}

int
kl_measure(const struct ppl_options *o, const struct model *m,
    struct backend *b, const struct model *reference, struct backend *rb,
    const int32_t *ids, int64_t n, int32_t bos, struct kl_result *result,
    struct err *e)
{
	struct sums s = { .vocab = m->config.vocab, .progress = o->progress,
		.began_ms = clock_ms() };
	struct ppl_walk w = { .protocol = o->protocol, .stride = o->stride,
		.context = o->context, .n_windows = o->n_windows,
		.n_ctx = o->n_ctx, .n_pages = o->n_pages,
		.max_rows = o->max_rows, .vocab = m->config.vocab, .bos = bos,
		.backends = { b, rb }, .token = on_token, .window = on_window,
		.arg = &s };
	int r;

	if (reference->config.vocab != m->config.vocab)
		return err_set(e, ERR_RANGE, "the models have %d and %d tokens: "
		    "their logits cannot be compared", (int)m->config.vocab,
		    (int)reference->config.vocab);
	if ((r = ppl_walk(&w, ids, n, e)) != 0)
		return r;
	s.r.kl_mean = s.kl / (double)s.r.tokens;
	s.r.agreement = (double)s.agreed / (double)s.r.tokens;
	s.r.nll_mean = s.nll / (double)s.r.tokens;
	s.r.nll_mean_reference = s.nll_reference / (double)s.r.tokens;
	if (!isfinite(s.r.nll_mean) || !isfinite(s.r.nll_mean_reference))
		return err_set(e, ERR_BAD_FILE, "the logits of %s are not finite",
		    isfinite(s.r.nll_mean) ? "the reference" : "the model");
	*result = s.r;
	return 0;
}

static void
print(const struct ppl_options *o, const struct kl_result *r, FILE *out)
{
	double ppl = exp(r->nll_mean), reference = exp(r->nll_mean_reference);
	char protocol[24];

	ppl_protocol_name(o->protocol, o->stride, protocol);
	fprintf(out, o->json ? "{\"tokens\":%" PRId64 ",\"kl_mean\":%.9g,"
	    "\"kl_max\":%.9g,\"kl_max_at\":%" PRId64 ",\"argmax_agreement\":%.9g,"
	    "\"nll_mean\":%.9g,\"ppl\":%.9g,\"reference_nll_mean\":%.9g,"
	    "\"reference_ppl\":%.9g,\"protocol\":\"%s\",\"context\":%d}\n" :
	    "%" PRId64 " tokens, KL mean %.3g, max %.3g (token %" PRId64 "), "
	    "same best token %.4f, mean nll %.6f, perplexity %.4f; of the "
	    "reference %.6f, %.4f (%s, windows of %d)\n", r->tokens, r->kl_mean,
	    r->kl_max, r->kl_max_at, r->agreement, r->nll_mean, ppl,
	    r->nll_mean_reference, reference, protocol,
	    (int)(o->context == 0 ? PPL_CONTEXT : o->context));
}

/* The text as the other model's tokenizer has it must be ids, too. */
static int
compare_ids(const char *path, const struct buf *text, const struct model *m,
    const struct ids *ids, int32_t bos, struct err *e)
{
	struct tokenizer *t = NULL;
	struct ids other = { 0 };
	int32_t other_bos;
	int r;

	if ((r = tokenizer_load(m->tokenizer, m->n_tokenizer, &t, e)) != 0)
		return r;
	r = ppl_encode(text, m, t, &other, &other_bos, e);
	if (r == 0 && (other.n != ids->n || other_bos != bos || memcmp(other.v,
	    ids->v, ids->n * sizeof(*ids->v)) != 0))
		r = err_set(e, ERR_RANGE, "%s makes other tokens of the text: its "
		    "logits cannot be compared", path);
	ids_free(&other);
	tokenizer_destroy(t);
	return r;
}

/* As of --model, a window is not longer than what the other was trained for. */
static int
check_context(const struct ppl_options *o, const char *path,
    const struct model *m, struct err *e)
{
	int32_t context = o->context == 0 ? PPL_CONTEXT : o->context;

	if (context <= m->config.n_ctx)
		return 0;
	return err_set(e, ERR_RANGE, "windows of %d tokens; %s was trained for %d",
	    (int)context, path, (int)m->config.n_ctx);
}

int
kl_run(const struct ppl_options *o, const struct model *m,
    const struct tokenizer *t, struct backend *b, const char *path,
    const struct backend_options *bo, FILE *out, struct err *e)
{
	struct model reference;
	struct backend rb;
	struct kl_result result;
	struct buf text = { 0 };
	struct ids ids = { 0 };
	int32_t bos;
	int r;

	if ((r = model_open(path, false, &reference, e)) != 0)
		return r;
	if ((r = check_context(o, path, &reference, e)) == 0 &&
	    (r = file_read(o->path, PPL_TEXT_MAX, &text, e)) == 0 &&
	    (r = ppl_encode(&text, m, t, &ids, &bos, e)) == 0 &&
	    (r = compare_ids(path, &text, &reference, &ids, bos, e)) == 0 &&
	    (r = backend_open(&reference, bo, &rb, e)) == 0) {
		r = kl_measure(o, m, b, &reference, &rb, ids.v, (int64_t)ids.n,
		    bos, &result, e);
		rb.close(&rb);
	}
	if (r == 0)
		print(o, &result, out);
	ids_free(&ids);
	buf_free(&text);
	model_close(&reference);
	return r;
}

#ifndef DECODE_SAMPLER_H
#define DECODE_SAMPLER_H

#include <stdint.h>

#include "backend/backend.h"
#include "err.h"

/*
 * From logits to one token.  Counter-based: draw k of position p is a function
 * of (seed, p, k) alone (Philox 4x32-10, Salmon et al. 2011), so the outcome
 * does not depend on what runs beside it or on a restart.
 *
 * Order: logit_bias, repetition / frequency / presence penalties over the last
 * n tokens, temperature 0 takes the largest (lowest id on a tie), else
 * top_k, min_p, temperature, top_p, draw.
 */
struct sampler_bias {
	int32_t id;
	float bias;		/* added to the logit; -100 excludes */
};

struct sampler_params {
	float temperature;	/* 0: greedy */
	int32_t top_k;		/* 0: all */
	float top_p, min_p;
	int32_t min_keep;	/* tokens that these two leave at least */
	float repeat_penalty;	/* 1: none */
	int32_t repeat_last_n;	/* 0: all tokens of the sequence */
	float frequency_penalty, presence_penalty;	/* 0: none */
	const struct sampler_bias *bias;	/* [n_bias], borrowed */
	int32_t n_bias;
	uint64_t seed;
};

/* Probability of a candidate after the softmax of the unmodified logits. */
struct sampler_logprob {
	int32_t id;
	float logprob;		/* natural logarithm */
};

struct sampler;		/* scratch for one vocabulary; one thread */

int sampler_create(int32_t n_vocab, struct sampler **s, struct err *e);
void sampler_destroy(struct sampler *s);

/*
 * Choose the token at position pos (index in the generation, from 0).
 * logits: [n_vocab] f32, unchanged.  context: [n_context] the ids of prompt and
 * generation so far; the first n_prompt of them count for repeat_penalty, not
 * for the other two.
 */
int32_t sampler_choose(struct sampler *s, const struct sampler_params *p,
    const float *logits, const int32_t *context, int32_t n_context,
    int32_t n_prompt, int64_t pos);

/*
 * How many of the largest logits are enough: sampler_choose_top chooses by them
 * what sampler_choose would by all.  0: they are not.
 */
int32_t sampler_top(const struct sampler_params *p);

/* top: [n] as a backend gives them, n = sampler_top(p), or the vocabulary if that
 * is less. */
int32_t sampler_choose_top(struct sampler *s, const struct sampler_params *p,
    const struct backend_top *top, int32_t n, int64_t pos);

/* logprob of id, and the n most likely ones into top [n], by the raw logits. */
float sampler_logprobs(struct sampler *s, const float *logits, int32_t id,
    struct sampler_logprob *top, int32_t n);

/* Philox 4x32-10: four words of (key, counter).  For tests against its vectors. */
void philox4x32(const uint32_t key[2], const uint32_t counter[4],
    uint32_t out[4]);

#endif

#ifndef DECODE_KL_H
#define DECODE_KL_H

#include <stdint.h>
#include <stdio.h>

#include "backend/backend.h"
#include "err.h"
#include "model/model.h"
#include "ppl.h"

struct kl_result {
	int64_t tokens;
	double kl_mean, kl_max;	/* KL(reference || model), nats */
	int64_t kl_max_at;	/* which of the tokens, from 0 */
	double agreement;	/* how often both have the same best token, 0..1 */
	double nll_mean, nll_mean_reference;
};

/*
 * Two models by their logits: m on b against reference on rb, over ids [n] in
 * the windows of o.  Both have the same vocabulary.  Returns what ppl_walk
 * returns, ERR_RANGE if the vocabularies differ in size, and ERR_BAD_FILE for logits
 * that are not finite.
 */
int kl_measure(const struct ppl_options *o, const struct model *m,
    struct backend *b, const struct model *reference, struct backend *rb,
    const int32_t *ids, int64_t n, int32_t bos, struct kl_result *result,
    struct err *e);

/*
 * The same for the text in o->path and the model file at path, which is opened
 * on a backend of its own with options bo.  The text is encoded by t, of m;
 * ERR_RANGE if the other model's tokenizer makes other tokens of it, or if it was
 * trained for less than a window.  Prints sentences, or one JSON object, to out.
 */
int kl_run(const struct ppl_options *o, const struct model *m,
    const struct tokenizer *t, struct backend *b, const char *path,
    const struct backend_options *bo, FILE *out, struct err *e);

#endif

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/hf.h"
#include "model/hf_files.h"
#include "model/hf_priv.h"
#include "model/ternarize.h"
#include "tokenizer/tokenizer.h"

static int
open_config(struct hf *h, const char *dir, struct err *e)
{
	json_t *config, *generation = NULL;
	int rc;

	if ((rc = hf_files_json(dir, "config.json", HF_CONFIG_MAX, &config,
	    e)) != 0)
		return rc;
	rc = hf_files_json(dir, "generation_config.json", HF_CONFIG_MAX,
	    &generation, e);
	if (rc == 0 || rc == ERR_NOT_FOUND)
		rc = hf_config_parse(config, generation, &h->config, e);
	json_decref(config);
	json_decref(generation);
	return rc;
}

/* config: tokenizer_config.json, or NULL. */
static int
open_tokenizer(struct hf *h, const char *dir, const json_t *config,
    struct err *e)
{
	const json_t *bos = json_object_get(config, "add_bos_token");
	struct tokenizer *t = NULL;
	struct buf text = { 0 };
	int rc;

	rc = hf_files_read(dir, "tokenizer.json", HF_TOKENIZER_MAX, &text, e);
	if (rc == 0)
		rc = tokenizer_from_json(text.data != NULL ? text.data : "",
		    text.len, &t, e);
	else if (rc == ERR_NOT_FOUND)
		err_set(e, rc, "%.180s: no tokenizer.json", dir);
	if (rc == 0 && tokenizer_n_vocab(t) > h->config.config.vocab)
		rc = err_set(e, ERR_BAD_FILE, "tokenizer.json has %d tokens, the "
		    "model only %d", tokenizer_n_vocab(t),
		    h->config.config.vocab);
	if (rc == 0 && json_is_boolean(bos))
		tokenizer_set_add_bos(t, json_is_true(bos));
	if (rc == 0)
		rc = tokenizer_save(t, &h->tokenizer, e);
	tokenizer_destroy(t);
	buf_free(&text);
	return rc;
}

/* The tokenizer and the chat template. */
static int
open_texts(struct hf *h, const char *dir, struct err *e)
{
	json_t *config = NULL;
	int rc;

	rc = hf_files_json(dir, "tokenizer_config.json", HF_CONFIG_MAX, &config,
	    e);
	if (rc != 0 && rc != ERR_NOT_FOUND)
		return rc;
	if ((rc = open_tokenizer(h, dir, config, e)) == 0) {
		rc = hf_files_read(dir, "chat_template.jinja", H1B_TEXT_MAX,
		    &h->chat_template, e);
		if (rc == ERR_NOT_FOUND)
			rc = config == NULL ? 0 : hf_files_template(config,
			    &h->chat_template, e);
	}
	json_decref(config);
	return rc;
}

static int
open_weights(struct hf *h, const char *dir, struct err *e)
{
	const struct model_config *c = &h->config.config;
	int32_t n = 0;
	int rc;

	if ((rc = hf_shards_open(h, dir, e)) != 0 ||
	    (rc = hf_tensors_check(h, e)) != 0)
		return rc;
	for (enum h1b_part p = H1B_Q; p <= H1B_DOWN; p++)
		n = h1b_columns(c, p) > n ? h1b_columns(c, p) : n;
	if ((h->row = calloc((size_t)n, sizeof(*h->row))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a row");
	return 0;
}

int
hf_open(const char *dir, struct hf **h, struct err *e)
{
	struct hf *o = calloc(1, sizeof(*o));
	int rc;

	if (o == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a checkpoint");
	o->layer = -2;
	/* To look at the weights may take a while, so all else goes before. */
	if ((rc = open_config(o, dir, e)) != 0 ||
	    (rc = open_weights(o, dir, e)) != 0 ||
	    (rc = open_texts(o, dir, e)) != 0 ||
	    (o->config.weights == HF_TERNARY &&
	    (rc = hf_tensors_look(o, e)) != 0)) {
		hf_close(o);
		return rc;
	}
	*h = o;
	return 0;
}

void
hf_close(struct hf *h)
{
	if (h == NULL)
		return;
	hf_shards_close(h);
	buf_free(&h->tokenizer);
	buf_free(&h->chat_template);
	free(h->row);
	free(h);
}

/* The mean of |W| of the master that is being read. */
static int
get_mean(struct hf *h, struct err *e)
{
	const struct safetensors_tensor *w = h->weight;
	double sum = 0;

	for (uint64_t o = 0; o < w->dims[0]; o++) {
		safetensors_f32(w, o * w->dims[1], w->dims[1], h->row);
		sum += ternarize_sum(h->row, (int32_t)w->dims[1]);
	}
	h->mean = ternarize_mean(sum, w->n);
	if (!isfinite(sum) || !isfinite(h->mean))
		return err_set(e, ERR_BAD_FILE, "tensor '%.120s': a value is "
		    "not finite", w->name);
	return 0;
}

static int
turn_to(struct hf *h, enum h1b_part part, int32_t layer, struct err *e)
{
	int rc;

	if (h->part == part && h->layer == layer)
		return 0;
	h->weight = hf_tensors_find(h, part, layer, false);
	h->scale = hf_tensors_find(h, part, layer, true);
	if (h->config.weights == HF_MASTER && h1b_group_of(part) >= 0 &&
	    layer >= 0 && (rc = get_mean(h, e)) != 0)
		return rc;
	h->part = part;
	h->layer = layer;
	return 0;
}

static int
get_row(void *arg, enum h1b_part part, int32_t layer, int32_t row, float *out,
    struct err *e)
{
	struct hf *h = arg;
	uint64_t n;
	int rc;

	if ((rc = turn_to(h, part, layer, e)) != 0)
		return rc;
	n = h->weight->dims[h->weight->n_dims - 1];
	safetensors_f32(h->weight, (uint64_t)row * n, n, out);
	return 0;
}

static int32_t
get_group(void *arg, enum h1b_part part, int32_t layer)
{
	const struct hf *h = arg;
	int32_t group = h->groups[h1b_group_of(part)];

	(void)layer;
	return group > 0 ? group : h1b_columns(&h->config.config, part);
}

static int
get_packed(const struct hf *h, int32_t row, uint8_t *codes, float *scale,
    struct err *e)
{
	uint64_t n_rows = h->weight->dims[0], n = h->weight->dims[1];
	const uint8_t *p = h->weight->data + (uint64_t)row % n_rows * n;
	int shift = (int)((uint64_t)row / n_rows) * 2;

	for (uint64_t k = 0; k < n; k++)
		if ((codes[k] = p[k] >> shift & 3) == 3)
			return err_set(e, ERR_BAD_FILE, "tensor '%s': code 3 at "
			    "row %d, column %llu", h->weight->name, row,
			    (unsigned long long)k);
	safetensors_f32(h->scale, 0, 1, scale);
	if (!(*scale > 0 && isfinite(*scale)))
		return err_set(e, ERR_BAD_FILE, "tensor '%s' is %g, not positive",
		    h->scale->name, (double)*scale);
	if (h->config.divide)
		*scale = 1 / *scale;
	return 0;
}

static int
get_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scales, struct err *e)
{
	struct hf *h = arg;
	uint64_t n;
	int rc;

	if ((rc = turn_to(h, part, layer, e)) != 0)
		return rc;
	if (h->config.weights == HF_PACKED)
		return get_packed(h, row, codes, scales, e);
	n = h->weight->dims[1];
	safetensors_f32(h->weight, (uint64_t)row * n, n, h->row);
	if (h->config.weights == HF_MASTER) {
		ternarize_round(h->row, (int32_t)n, h->mean, codes);
		*scales = h->mean;
	} else
		ternarize_split(h->row, (int32_t)n, get_group(h, part, layer),
		    codes, scales);
	return 0;
}

static void
drop(void *arg)
{
	hf_shards_drop(arg);
}

static enum dense_type
dense_type(const struct hf *h, enum h1b_part part)
{
	const struct safetensors_tensor *t = hf_tensors_find(h, part, -1, false);

	return t->dtype == SAFETENSORS_F32 ? DENSE_F32 :
	    t->dtype == SAFETENSORS_F16 ? DENSE_F16 : DENSE_BF16;
}

void
hf_source(struct hf *h, struct h1b_source *s)
{
	*s = (struct h1b_source){
		.config = h->config.config,
		.embed_type = dense_type(h, H1B_EMBED),
		.head_type = h->config.config.tied ? 0 :
		    dense_type(h, H1B_HEAD),
		.architecture = h->config.architecture,
		.chat_template = h->chat_template.data != NULL ?
		    h->chat_template.data : "",
		.n_chat_template = h->chat_template.len,
		.tokenizer = h->tokenizer.data,
		.n_tokenizer = h->tokenizer.len,
		.row = get_row, .group = get_group, .codes = get_codes,
		.drop = drop, .arg = h,
	};
}

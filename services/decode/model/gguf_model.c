/*
 * Metadata to sizes (gguf_config.c), tensors to parts (gguf_tensors.c), the
 * vocabulary to a tokenizer; then rows as they are asked for.
 */
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "model/gguf_config.h"
#include "model/gguf_model.h"
#include "model/gguf_tensors.h"
#include "tokenizer/template.h"
#include "tokenizer/tokenizer.h"

struct gguf_model {
	struct gguf *g;
	struct gguf_config config;
	struct gguf_tensors tensors;
	struct buf tokenizer;		/* as tokenizer_save made it */
	struct gguf_string chat_template;
	bool replaced;			/* it is not the file's */
};

static int
read_template(struct gguf_model *m, struct err *e)
{
	struct err why = { 0 };

	(void)gguf_get_string(m->g, "tokenizer.chat_template",
	    &m->chat_template, &why);
	if (why.code != 0)
		return err_set(e, why.code, "%s", why.text);
	/* The one in its GGUF files ("Human: …\n\nBITNETAssistant: ") is not
	 * what it was trained with. */
	if (m->config.bitnet) {
		const struct gguf_string ours = { template_2b4t,
			strlen(template_2b4t) };

		m->replaced = m->chat_template.n > 0 && (m->chat_template.n !=
		    ours.n || memcmp(m->chat_template.s, ours.s, ours.n) != 0);
		m->chat_template = ours;
	}
	return 0;
}

/*
 * A file names one token that ends a text; a turn of a chat often ends with
 * another.
 */
static void
add_ends(struct model_config *c, const struct tokenizer *t)
{
	static const char *const ends[] = { "<|eot_id|>", "<|im_end|>",
	    "<|end_of_text|>", "<|endoftext|>" };

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		int32_t id = tokenizer_special(t, ends[i]);

		if (id < c->vocab)
			gguf_config_add_eos(c, id);
	}
}

static int
read_tokenizer(struct gguf_model *m, struct err *e)
{
	struct model_config *c = &m->config.config;
	struct tokenizer *t = NULL;
	const char *what = gguf_what(m->g);
	struct err why = { 0 };
	int rc;

	if ((rc = tokenizer_from_gguf(m->g, &t, &why)) == 0) {
		if (tokenizer_n_vocab(t) > c->vocab)
			rc = err_set(&why, ERR_BAD_FILE, "the tokenizer has %d "
			    "tokens, but tensor 'token_embd.weight' has %d "
			    "rows", tokenizer_n_vocab(t), c->vocab);
		else
			rc = tokenizer_save(t, &m->tokenizer, &why);
	}
	if (rc == 0)
		add_ends(c, t);
	else if (strncmp(why.text, what, strlen(what)) == 0)
		err_set(e, rc, "%s", why.text);
	else
		err_set(e, rc, "%.80s: %s", what, why.text);
	tokenizer_destroy(t);
	return rc;
}

/*
 * A llama may have been trained with activations of 8 bits (Llama3-8B-1.58,
 * Falcon3) or of 16 (TriLM), and no key says which.  What is kept as floats of
 * three values was never meant for an engine with 8 bits.
 */
static bool
is_act_float(const struct gguf_model *m)
{
	static const char *const names[] = { "general.name",
	    "general.basename" };
	const struct model_config *c = &m->config.config;
	struct gguf_string s = { "", 0 };
	struct err why = { 0 };

	if (c->act_float || !m->config.permuted)
		return c->act_float;
	for (int i = 0; i < 2; i++)
		if (gguf_get_string(m->g, names[i], &s, &why) &&
		    memmem(s.s, s.n, "TriLM", 5) != NULL)
			return true;
	return gguf_tensors_at(&m->tensors, H1B_Q, 0)->type->use == GGUF_FLOATS;
}

/* Takes over g. */
static int
read_model(struct gguf *g, struct gguf_model **out, struct err *e)
{
	struct gguf_model *m = calloc(1, sizeof(*m));
	int rc;

	if (m == NULL) {
		gguf_close(g);
		return err_set(e, ERR_NO_MEMORY, "no memory for a model");
	}
	m->g = g;
	if ((rc = gguf_config_read(g, &m->config, e)) != 0 ||
	    (rc = gguf_tensors_map(g, &m->config.config, &m->tensors,
	    e)) != 0 || (rc = read_template(m, e)) != 0 ||
	    (rc = read_tokenizer(m, e)) != 0) {
		gguf_model_close(m);
		return rc;
	}
	m->config.config.act_float = is_act_float(m);
	*out = m;
	return 0;
}

int
gguf_model_open(const char *path, struct gguf_model **m, struct err *e)
{
	struct gguf *g;
	int rc = gguf_open(path, &g, e);

	return rc != 0 ? rc : read_model(g, m, e);
}

int
gguf_model_parse(const void *bytes, size_t n, const char *what,
    struct gguf_model **m, struct err *e)
{
	struct gguf *g;
	int rc = gguf_parse(bytes, n, what, &g, e);

	return rc != 0 ? rc : read_model(g, m, e);
}

void
gguf_model_close(struct gguf_model *m)
{
	if (m == NULL)
		return;
	gguf_tensors_free(&m->tensors);
	buf_free(&m->tokenizer);
	gguf_close(m->g);
	free(m);
}

static int
give_row(void *arg, enum h1b_part part, int32_t layer, int32_t row, float *out,
    struct err *e)
{
	struct gguf_model *m = arg;

	return gguf_matrix_floats(&m->tensors, gguf_tensors_at(&m->tensors,
	    part, layer), row, out, e);
}

static int
give_row_i8(void *arg, enum h1b_part part, int32_t row, int8_t *q,
    float *scales, struct err *e)
{
	struct gguf_model *m = arg;

	return gguf_matrix_ints(&m->tensors, gguf_tensors_at(&m->tensors, part,
	    -1), row, q, scales, e);
}

static int32_t
give_group(void *arg, enum h1b_part part, int32_t layer)
{
	struct gguf_model *m = arg;

	return gguf_tensors_at(&m->tensors, part, layer)->group;
}

/* Where the file has row `row` of Q or K, whose halves alternate in it. */
static int32_t
permuted(const struct gguf_model *m, int32_t row)
{
	int32_t n = m->config.config.head_dim, in = row % n, half = n / 2;

	return row - in + in % half * 2 + in / half;
}

static int
give_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scales, struct err *e)
{
	struct gguf_model *m = arg;

	if (m->config.permuted && (part == H1B_Q || part == H1B_K))
		row = permuted(m, row);
	return gguf_matrix_codes(&m->tensors, gguf_tensors_at(&m->tensors, part,
	    layer), row, codes, scales, e);
}

static void
drop(void *arg)
{
	struct gguf_model *m = arg;

	gguf_drop(m->g);
}

void
gguf_model_source(struct gguf_model *m, struct h1b_source *s)
{
	const struct gguf_matrix *embed = gguf_tensors_at(&m->tensors,
	    H1B_EMBED, -1);
	const struct gguf_matrix *head = gguf_tensors_at(&m->tensors, H1B_HEAD,
	    -1);

	s->config = m->config.config;
	s->embed_type = gguf_matrix_dense(embed);
	s->embed_group = s->embed_type == DENSE_I8 ? embed->group : 0;
	s->head_type = head->t != NULL ? gguf_matrix_dense(head) : 0;
	s->head_group = s->head_type == DENSE_I8 ? head->group : 0;
	s->architecture = m->config.architecture;
	s->chat_template = m->chat_template.n > 0 ? m->chat_template.s : "";
	s->n_chat_template = m->chat_template.n;
	s->tokenizer = m->tokenizer.data;
	s->n_tokenizer = m->tokenizer.len;
	s->row = give_row;
	s->row_i8 = give_row_i8;
	s->group = give_group;
	s->codes = give_codes;
	s->drop = drop;
	s->arg = m;
}

const char *
gguf_model_note(const struct gguf_model *m)
{
	return m->replaced ? "the chat template of the file was replaced "
	    "by that of microsoft/bitnet-b1.58-2B-4T" : "";
}

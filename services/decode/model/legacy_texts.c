#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/legacy_priv.h"
#include "tokenizer/template.h"
#include "tokenizer/tokenizer.h"

/*
 * A .h1b of these versions says nothing of tokens: they are taken to be those
 * of BitNet b1.58 2B4T, by their names, or by their numbers where the size of
 * the vocabulary is that model's; and what a .htok says is added.
 */
enum { VOCAB_2B4T = 128256, BOS_2B4T = 128000, EOS_2B4T = 128001,
	EOT_2B4T = 128009 };

/* Add id, unless it is there or there is no such token. */
static void
add_eos(struct model_config *c, int64_t id)
{
	for (int32_t i = 0; i < c->n_eos; i++)
		if (c->eos[i] == id)
			return;
	if (id >= 0 && id < c->vocab && c->n_eos < MODEL_EOS_MAX)
		c->eos[c->n_eos++] = (int32_t)id;
}

/* BOS and EOS of a .htok, whose other contents tokenizer_open has checked. */
static int
add_htok(struct model_config *c, const char *path, struct err *e)
{
	FILE *fp = fopen(path, "rbe");
	uint32_t v[6] = { 0 };
	size_t n, at;

	if (fp == NULL)
		return err_set(e, ERR_SYSTEM, "%.180s: cannot be opened", path);
	n = fread(v, 1, sizeof(v), fp);
	fclose(fp);
	if (n < sizeof(v))
		return err_set(e, ERR_BAD_FILE, "%.180s: too short", path);
	/* Both variants: tokenizer.h. */
	at = v[1] == 2 ? 4 : 3;
	if (c->bos < 0 && v[at] < (uint32_t)c->vocab)
		c->bos = (int32_t)v[at];
	add_eos(c, v[at + 1]);
	return 0;
}

static void
add_known(struct model_config *c, const struct tokenizer *t)
{
	bool same = c->vocab == VOCAB_2B4T;
	int32_t bos = tokenizer_special(t, "<|begin_of_text|>");
	int32_t end = tokenizer_special(t, "<|end_of_text|>");
	int32_t eot = tokenizer_special(t, "<|eot_id|>");

	c->bos = bos < 0 && same ? BOS_2B4T : bos;
	add_eos(c, end < 0 && same ? EOS_2B4T : end);
	add_eos(c, eot < 0 && same ? EOT_2B4T : eot);
}

/* The .htok or the tokenizer.json beside path, or NULL; to be freed. */
static char *
find_tokenizer(const char *path, bool *htok)
{
	const char *slash = strrchr(path, '/');
	size_t n = strlen(path), n_dir = slash != NULL ?
	    (size_t)(slash - path) + 1 : 0;
	char *name;

	if (n > 4 && strcmp(path + n - 4, ".h1b") == 0)
		n -= 4;
	*htok = true;
	if (asprintf(&name, "%.*s.htok", (int)n, path) < 0)
		return NULL;
	if (access(name, F_OK) == 0)
		return name;
	free(name);
	*htok = false;
	if (asprintf(&name, "%.*stokenizer.json", (int)n_dir, path) < 0)
		return NULL;
	if (access(name, F_OK) == 0)
		return name;
	free(name);
	return NULL;
}

int
legacy_texts_open(struct legacy *l, const char *path, struct err *e)
{
	struct model_config *c = &l->config;
	struct tokenizer *t = NULL;
	bool htok;
	char *name = find_tokenizer(path, &htok);
	int rc;

	if (name == NULL)
		return err_set(e, ERR_NOT_FOUND, "%.160s: no tokenizer beside "
		    "it: neither a .htok of that name nor tokenizer.json", path);
	rc = tokenizer_open(name, NULL, &t, e);
	if (rc == 0 && tokenizer_n_vocab(t) > c->vocab)
		rc = err_set(e, ERR_BAD_FILE, "%.140s has %d tokens, the model "
		    "only %d", name, tokenizer_n_vocab(t), c->vocab);
	if (rc == 0) {
		add_known(c, t);
		if (tokenizer_special(t, "<|eot_id|>") >= 0)
			l->chat_template = template_2b4t;
		rc = htok ? add_htok(c, name, e) : 0;
	}
	if (rc == 0)
		rc = tokenizer_save(t, &l->tokenizer, e);
	tokenizer_destroy(t);
	free(name);
	return rc;
}

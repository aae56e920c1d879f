/*
 * The vocabulary in a GGUF's metadata.  What a converter left out of it (the
 * pattern, NFC, whether an added token takes in blanks) is known by the name
 * in tokenizer.ggml.pre; an unknown name is refused, since a wrong pattern
 * gives ids that are nearly right.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf.h"
#include "tokenizer/parts.h"

#define KEY "tokenizer.ggml."

enum token_type { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

struct loader {
	const struct gguf *g;
	struct builder b;
	bool spm;
	struct gguf_array tokens, types, scores, merges;
	bool has_types;
	int64_t bos, eos, unk;		/* -1: none */
	struct err *e;
};

static int
bad(struct loader *l, int code, const char *key, const char *what)
{
	return err_set(l->e, code, "%.80s: key '%s' %s", gguf_what(l->g), key,
	    what);
}

/* An array of kind, with as many elements as there are tokens unless any. */
static int
take_array(struct loader *l, const char *key, enum gguf_kind kind, bool any,
    bool needed, struct gguf_array *out)
{
	if (!gguf_get_array(l->g, key, out, l->e)) {
		if (l->e->code != 0)
			return l->e->code;
		return needed ? bad(l, ERR_BAD_FILE, key, "is missing") : 0;
	}
	if (kind == GGUF_I32 ? out->kind != GGUF_I32 && out->kind != GGUF_U32 :
	    out->kind != kind)
		return bad(l, ERR_BAD_FILE, key,
		    "is an array of another kind");
	if (!any && out->n != l->tokens.n)
		return err_set(l->e, ERR_BAD_FILE, "%.80s: key '%s' has %llu "
		    "elements, expected %llu, one a token", gguf_what(l->g),
		    key, (unsigned long long)out->n,
		    (unsigned long long)l->tokens.n);
	return 0;
}

static int
take_id(struct loader *l, const char *key, int64_t *id)
{
	*id = -1;
	if (!gguf_get_int(l->g, key, id, l->e))
		return l->e->code;
	if (*id < 0 || (uint64_t)*id >= l->tokens.n)
		return err_set(l->e, ERR_BAD_FILE, "%.80s: key '%s' is %lld, "
		    "and there are %llu tokens", gguf_what(l->g), key,
		    (long long)*id, (unsigned long long)l->tokens.n);
	return 0;
}

/* *out is what it was if the key is not there. */
static int
take_bool(struct loader *l, const char *key, bool *out)
{
	return gguf_get_bool(l->g, key, out, l->e) ? 0 : l->e->code;
}

/* Which pattern?  "default" is what a converter writes that does not know. */
static int
choose_preset(struct loader *l, const struct preset **p)
{
	struct gguf_string pre = { "", 0 }, arch = { "", 0 };
	const char *name = NULL;

	if (!gguf_get_string(l->g, KEY "pre", &pre, l->e) && l->e->code != 0)
		return l->e->code;
	if (pre.n > 0 && !(pre.n == 7 && memcmp(pre.s, "default", 7) == 0)) {
		if ((*p = preset_of_gguf(pre.s, pre.n)) != NULL)
			return 0;
		return err_set(l->e, ERR_UNSUPPORTED, "%.80s: the pattern '"
		    "%.*s' of tokenizer.ggml.pre is not known; known are %s",
		    gguf_what(l->g), (int)(pre.n < 40 ? pre.n : 40), pre.s,
		    preset_names);
	}
	if (!gguf_get_string(l->g, "general.architecture", &arch, l->e) &&
	    l->e->code != 0)
		return l->e->code;
	if ((arch.n >= 6 && memcmp(arch.s, "bitnet", 6) == 0) ||
	    l->tokens.n == 128256)
		name = "llama3";
	else if (arch.n == 4 && memcmp(arch.s, "gpt2", 4) == 0)
		name = "gpt-2";
	else if (arch.n == 7 && memcmp(arch.s, "gptneox", 7) == 0)
		name = "gpt-neox";
	if (name == NULL)
		return bad(l, ERR_UNSUPPORTED, KEY "pre", "is missing, and "
		    "nothing else tells how to split text");
	*p = preset_find(name);
	return 0;
}

/* Rows that only make the matrix rounder. */
static bool
is_padding(struct gguf_string s, int32_t id)
{
	char name[32];
	int n = snprintf(name, sizeof(name), "[PAD%d]", (int)id);

	return s.n == (size_t)n && memcmp(s.s, name, s.n) == 0;
}

static int64_t
type_of(const struct loader *l, int32_t id, struct gguf_string s)
{
	if (l->has_types)
		return gguf_array_int(&l->types, (uint64_t)id);
	if (id == l->bos || id == l->eos)
		return CONTROL;
	if (id == l->unk)
		return UNKNOWN;
	return l->spm && builder_byte(s.s, s.n) >= 0 ? BYTE : NORMAL;
}

static int
add_token(struct loader *l, int32_t id, struct gguf_string s, struct buf *tmp)
{
	int64_t type = type_of(l, id, s);
	unsigned kind = TOKEN_MODEL;
	int byte;
	char c;

	buf_clear(tmp);
	if (type == UNUSED || (type == USER_DEFINED && is_padding(s, id)))
		return builder_add(&l->b, "", 0, 0);
	if (type == BYTE && l->spm) {
		if ((byte = builder_byte(s.s, s.n)) < 0)
			return err_set(l->e, ERR_BAD_FILE, "%.80s: token %d "
			    "'%.*s' is none of <0x00> .. <0xFF>, as its type "
			    "says", gguf_what(l->g), (int)id,
			    (int)(s.n < 40 ? s.n : 40), s.s);
		c = (char)byte;
		return builder_add(&l->b, &c, 1, TOKEN_BYTE);
	}
	if (type < NORMAL || type > USER_DEFINED)
		return err_set(l->e, ERR_BAD_FILE, "%.80s: token %d has type "
		    "%lld", gguf_what(l->g), (int)id, (long long)type);
	if (type == UNKNOWN || type == CONTROL)
		kind = TOKEN_ADDED | TOKEN_SPECIAL;
	else if (type == USER_DEFINED)
		kind = TOKEN_ADDED;
	if (l->spm && !(kind & TOKEN_SPECIAL)) {
		spm_append(s.s, s.n, tmp);
	} else if (kind != TOKEN_MODEL ||
	    !builder_unspell(s.s, s.n, tmp)) {
		/* One that no bytes spell was added by somebody. */
		if (kind == TOKEN_MODEL)
			kind = TOKEN_ADDED;
		buf_clear(tmp);
		buf_add(tmp, s.s, s.n);
	}
	if (type == UNKNOWN && l->spm && l->unk < 0)
		l->unk = id;
	return builder_add(&l->b, tmp->data, tmp->len, kind);
}

static int
read_tokens(struct loader *l)
{
	struct buf tmp = { 0 };
	size_t at = 0;
	int rc = builder_start(&l->b, gguf_what(l->g), (size_t)l->tokens.n,
	    l->e);

	for (uint64_t i = 0; rc == 0 && i < l->tokens.n; i++)
		rc = add_token(l, (int32_t)i,
		    gguf_array_string(&l->tokens, &at), &tmp);
	if (rc == 0 && tmp.failed)
		rc = err_set(l->e, ERR_NO_MEMORY, "%.80s: memory is short",
		    gguf_what(l->g));
	buf_free(&tmp);
	return rc;
}

/* "left right" in GPT-2's stand-ins. */
static bool
read_merge(const struct tokenizer *t, struct gguf_string s, struct buf *tmp,
    struct merge *m)
{
	const char *blank = s.n < 2 ? NULL : memchr(s.s + 1, ' ', s.n - 1);
	size_t n_left;

	if (blank == NULL)
		return false;
	buf_clear(tmp);
	if (!builder_unspell(s.s, (size_t)(blank - s.s), tmp))
		return false;
	n_left = tmp->len;
	if (!builder_unspell(blank + 1, s.n - (size_t)(blank + 1 - s.s),
	    tmp) || tmp->failed)
		return false;
	*m = (struct merge){ bpe_find(t, tmp->data, n_left),
	    bpe_find(t, tmp->data + n_left, tmp->len - n_left),
	    bpe_find(t, tmp->data, tmp->len), false };
	return m->left >= 0 && m->right >= 0 && m->id >= 0;
}

static int
read_merges(struct loader *l)
{
	struct tokenizer *t = l->b.t;
	struct buf tmp = { 0 };
	size_t at = 0;
	int rc = 0;

	t->merges = malloc(((size_t)l->merges.n + 1) * sizeof(*t->merges));
	if (t->merges == NULL)
		return err_set(l->e, ERR_NO_MEMORY, "%.80s: memory is short",
		    gguf_what(l->g));
	for (uint64_t i = 0; rc == 0 && i < l->merges.n; i++) {
		struct gguf_string s = gguf_array_string(&l->merges, &at);

		if (!read_merge(t, s, &tmp, &t->merges[t->n_merges++]))
			rc = err_set(l->e, ERR_BAD_FILE, "%.80s: merge %llu "
			    "'%.*s' is not of two tokens to a third",
			    gguf_what(l->g), (unsigned long long)i,
			    (int)(s.n < 40 ? s.n : 40), s.s);
	}
	buf_free(&tmp);
	return rc;
}

static int
make_merges(struct loader *l)
{
	size_t n = (size_t)l->tokens.n;
	float *score = malloc(n * sizeof(*score));
	int rc = 0;

	if (score == NULL)
		return err_set(l->e, ERR_NO_MEMORY, "%.80s: memory is short",
		    gguf_what(l->g));
	for (size_t i = 0; rc == 0 && i < n; i++) {
		score[i] = (float)gguf_array_float(&l->scores, i);
		if (isnan(score[i]))
			rc = err_set(l->e, ERR_BAD_FILE, "%.80s: the score of "
			    "token %zu is not a number", gguf_what(l->g), i);
	}
	if (rc == 0)
		rc = bpe_make_merges(l->b.t, score, l->e);
	free(score);
	return rc;
}

static int
read_gpt2(struct loader *l)
{
	const struct preset *p;
	bool add_bos;
	int rc;

	if ((rc = choose_preset(l, &p)) != 0 ||
	    (rc = take_array(l, KEY "merges", GGUF_STRING, true, true,
	    &l->merges)) != 0 || (rc = read_tokens(l)) != 0)
		return rc;
	add_bos = (p->flags & TOKENIZER_ADD_BOS) != 0;
	if ((rc = take_bool(l, KEY "add_bos_token", &add_bos)) != 0)
		return rc;
	l->b.t->flags = p->flags;
	tokenizer_set_add_bos(l->b.t, add_bos);
	if ((rc = tokenizer_add_pattern(l->b.t, p->pattern,
	    strlen(p->pattern), l->e)) != 0 ||
	    (rc = builder_end_tokens(&l->b)) != 0)
		return rc;
	return read_merges(l);
}

static int
read_llama(struct loader *l)
{
	bool add_bos = true, prefix = true, squeeze = false;
	struct gguf_array map;
	int rc;

	if ((rc = take_array(l, KEY "scores", GGUF_F32, false, true,
	    &l->scores)) != 0 ||
	    (rc = take_bool(l, KEY "add_bos_token", &add_bos)) != 0 ||
	    (rc = take_bool(l, KEY "add_space_prefix", &prefix)) != 0 ||
	    (rc = take_bool(l, KEY "remove_extra_whitespaces",
	    &squeeze)) != 0)
		return rc;
	if (squeeze)
		return bad(l, ERR_UNSUPPORTED, KEY "remove_extra_whitespaces",
		    "is true, which is not supported");
	if (gguf_get_array(l->g, KEY "precompiled_charsmap", &map, l->e) ||
	    l->e->code != 0)
		return bad(l, ERR_UNSUPPORTED, KEY "precompiled_charsmap",
		    "is not supported");
	if ((rc = read_tokens(l)) != 0)
		return rc;
	l->b.t->flags = TOKENIZER_SPM | TOKENIZER_FUSE_UNK;
	if (prefix)
		l->b.t->flags |= TOKENIZER_PREFIX;
	tokenizer_set_add_bos(l->b.t, add_bos);
	if (l->unk >= 0 && (l->b.t->kind[l->unk] & TOKEN_SPECIAL))
		l->b.t->unk = (int32_t)l->unk;
	if ((rc = builder_end_tokens(&l->b)) != 0)
		return rc;
	return make_merges(l);
}

int
tokenizer_from_gguf(const struct gguf *g, struct tokenizer **t, struct err *e)
{
	struct err none;
	struct loader l = { .g = g, .e = e == NULL ? &none : e };
	struct gguf_string model = { "", 0 };
	int rc;

	l.e->code = 0;
	if (!gguf_get_string(g, KEY "model", &model, l.e))
		return l.e->code != 0 ? l.e->code :
		    bad(&l, ERR_BAD_FILE, KEY "model", "is missing");
	l.spm = model.n == 5 && memcmp(model.s, "llama", 5) == 0;
	if (!l.spm && !(model.n == 4 && memcmp(model.s, "gpt2", 4) == 0))
		return err_set(e, ERR_UNSUPPORTED, "%.80s: the tokenizer '%.*s' "
		    "is not supported; gpt2 and llama are", gguf_what(g),
		    (int)(model.n < 40 ? model.n : 40), model.s);
	if ((rc = take_array(&l, KEY "tokens", GGUF_STRING, true, true,
	    &l.tokens)) != 0 ||
	    (rc = take_array(&l, KEY "token_type", GGUF_I32, false, false,
	    &l.types)) != 0 ||
	    (rc = take_id(&l, KEY "bos_token_id", &l.bos)) != 0 ||
	    (rc = take_id(&l, KEY "eos_token_id", &l.eos)) != 0 ||
	    (rc = take_id(&l, KEY "unknown_token_id", &l.unk)) != 0)
		return rc;
	l.has_types = l.types.data != NULL;
	rc = l.spm ? read_llama(&l) : read_gpt2(&l);
	return builder_finish(&l.b, rc, t);
}

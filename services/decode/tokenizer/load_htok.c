/*
 * A .htok, both variants, little-endian:
 *
 *	"HTOK", u32 n_vocab, n_merges, bos, eos; n_vocab times u16 length and
 *	the token in GPT-2's stand-ins; n_merges times u32 left, right, joined
 *
 *	"HTOK", u32 2, then the same, then u32 n_special and their ids
 *
 * A vocabulary of two tokens is impossible, so the u32 behind the magic tells
 * them apart.  The first has no list of special tokens: those are BOS, EOS, and
 * whatever looks like <...> and no merge makes.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/parts.h"

struct loader {
	struct builder b;
	const unsigned char *p, *end;
	const char *what;
	uint32_t n_vocab, n_merges, bos, eos, n_special;
	const unsigned char *tokens, *merges, *specials;
	bool v2;
	struct err *e;
};

static uint32_t
u32_at(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return le32toh(v);
}

static uint32_t
u16_at(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static int
bad(struct loader *l, const char *what, uint64_t number)
{
	return err_set(l->e, ERR_BAD_FILE, "%.80s: %s %llu", l->what, what,
	    (unsigned long long)number);
}

/* Find where the parts are; afterwards all of it is known to be there. */
static int
find_parts(struct loader *l, const unsigned char *start)
{
	size_t head, left;

	if (l->end - start < 24 || memcmp(start, "HTOK", 4) != 0)
		return err_set(l->e, ERR_BAD_FILE, "%.80s: no .htok: it does "
		    "not begin with HTOK and a header", l->what);
	l->v2 = u32_at(start + 4) == 2;
	head = l->v2 ? 8 : 4;
	l->n_vocab = u32_at(start + head);
	l->n_merges = u32_at(start + head + 4);
	l->bos = u32_at(start + head + 8);
	l->eos = u32_at(start + head + 12);
	l->tokens = l->p = start + head + 16;
	if (l->n_merges > TOKENIZER_MERGES_MAX)
		return bad(l, "too many merges:", l->n_merges);
	for (uint32_t i = 0; i < l->n_vocab; i++) {
		left = (size_t)(l->end - l->p);
		if (left < 2 || left - 2 < u16_at(l->p))
			return bad(l, "the file ends in token", i);
		l->p += 2 + u16_at(l->p);
	}
	l->merges = l->p;
	left = (size_t)(l->end - l->p);
	if (left / 12 < l->n_merges)
		return bad(l, "the file ends in merge", left / 12);
	l->p += 12 * (size_t)l->n_merges;
	left = (size_t)(l->end - l->p);
	if (l->v2) {
		if (left < 4 || left / 4 - 1 < u32_at(l->p))
			return bad(l, "the file ends in the special tokens, "
			    "at byte", (uint64_t)(l->end - start));
		l->n_special = u32_at(l->p);
		l->specials = l->p + 4;
		l->p += 4 + 4 * (size_t)l->n_special;
	}
	if (l->p != l->end)
		return bad(l, "something follows the last part, at byte",
		    (uint64_t)(l->p - start));
	return 0;
}

/* What each token is, by its id; kinds [n_vocab] is zero. */
static int
find_kinds(struct loader *l, uint8_t *kinds)
{
	const unsigned char *p = l->tokens;

	for (uint32_t i = 0; i < l->n_merges; i++) {
		uint32_t id = u32_at(l->merges + 12 * (size_t)i + 8);

		if (id >= l->n_vocab)
			return bad(l, "no token has the id of merge", i);
		kinds[id] = TOKEN_MODEL;
	}
	for (uint32_t i = 0; i < l->n_special; i++) {
		uint32_t id = u32_at(l->specials + 4 * (size_t)i);

		if (id >= l->n_vocab)
			return bad(l, "there is no special token", id);
		kinds[id] = TOKEN_ADDED | TOKEN_SPECIAL;
	}
	for (uint32_t i = 0; i < l->n_vocab; i++) {
		uint32_t n = u16_at(p);

		p += 2;
		if (n == 0)
			kinds[i] = 0;
		else if (kinds[i] == 0 && (i == l->bos || i == l->eos ||
		    (!l->v2 && n > 2 && p[0] == '<' && p[n - 1] == '>')))
			kinds[i] = TOKEN_ADDED | TOKEN_SPECIAL;
		else if (kinds[i] == 0)
			kinds[i] = TOKEN_MODEL;
		p += n;
	}
	return 0;
}

static int
read_tokens(struct loader *l)
{
	uint8_t *kinds = l->b.t->kind;	/* builder_add keeps them */
	struct buf tmp = { 0 };
	int rc = find_kinds(l, kinds);

	l->p = l->tokens;
	for (uint32_t i = 0; rc == 0 && i < l->n_vocab; i++) {
		const char *text = (const char *)l->p + 2;
		size_t n = u16_at(l->p);
		unsigned kind = kinds[i];

		buf_clear(&tmp);
		if (kind != TOKEN_MODEL || !builder_unspell(text, n, &tmp)) {
			/* As it is written: somebody added it. */
			if (kind == TOKEN_MODEL)
				kind = TOKEN_ADDED;
			buf_clear(&tmp);
			buf_add(&tmp, text, n);
		}
		rc = builder_add(&l->b, tmp.data, tmp.len, kind);
		l->p += 2 + n;
	}
	if (rc == 0 && tmp.failed)
		rc = err_set(l->e, ERR_NO_MEMORY, "%.80s: memory is short",
		    l->what);
	buf_free(&tmp);
	return rc != 0 ? rc : builder_end_tokens(&l->b);
}

static int
read_merges(struct loader *l)
{
	struct tokenizer *t = l->b.t;

	t->merges = malloc(((size_t)l->n_merges + 1) * sizeof(*t->merges));
	if (t->merges == NULL)
		return err_set(l->e, ERR_NO_MEMORY, "%.80s: memory is short",
		    l->what);
	t->n_merges = l->n_merges;
	for (size_t i = 0; i < t->n_merges; i++) {
		const unsigned char *p = l->merges + 12 * i;

		t->merges[i] = (struct merge){ (int32_t)u32_at(p),
		    (int32_t)u32_at(p + 4), (int32_t)u32_at(p + 8), false };
	}
	return 0;
}

int
tokenizer_from_htok(const void *bytes, size_t n, const char *what,
    const char *pattern, struct tokenizer **t, struct err *e)
{
	struct loader l = { .end = (const unsigned char *)bytes + n,
	    .what = what, .e = e };
	const struct preset *p;
	int rc = find_parts(&l, bytes);

	if (rc != 0)
		return rc;
	if (pattern == NULL)
		pattern = l.n_vocab == 128256 ? "llama3" : "gpt-2";
	if ((p = preset_find(pattern)) == NULL)
		return err_set(e, ERR_RANGE, "the pattern '%.40s' is not "
		    "known; known are %s", pattern, preset_names);
	if ((rc = builder_start(&l.b, what, l.n_vocab, e)) == 0) {
		l.b.t->flags = p->flags;
		rc = tokenizer_add_pattern(l.b.t, p->pattern,
		    strlen(p->pattern), e);
	}
	if (rc == 0 && (rc = read_tokens(&l)) == 0)
		rc = read_merges(&l);
	return builder_finish(&l.b, rc, t);
}

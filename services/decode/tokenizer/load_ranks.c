/*
 * tiktoken's ranks: a line for each token, its bytes in base64, a blank, and
 * its rank, which is its id and says how early it is merged.  Special tokens
 * and the pattern are in tiktoken's code and not in the file; of the three
 * vocabularies below they are known by the number of ranks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "tokenizer/parts.h"

static const struct {
	size_t n_ranks;
	const char *pattern;
} known[] = {
	{ 128000, "llama3" },
	{ 50256, "gpt-2" },
	{ 151643, "qwen2" },
};

struct line {
	const char *text;
	size_t n;
	int32_t rank;
};

struct loader {
	struct builder b;
	struct line *lines;	/* [n], by rank after sorting */
	size_t n;
	const char *what;
	struct err *e;
};

/* "base64 rank" */
static bool
parse_line(const char *text, size_t n, struct line *line)
{
	const char *blank = memchr(text, ' ', n);
	int64_t rank = 0;

	if (blank == NULL || blank + 1 == text + n)
		return false;
	for (const char *p = blank + 1; p < text + n; p++) {
		if (*p < '0' || *p > '9' || rank >= TOKENIZER_VOCAB_MAX)
			return false;
		rank = 10 * rank + *p - '0';
	}
	if (rank >= TOKENIZER_VOCAB_MAX)
		return false;
	*line = (struct line){ text, (size_t)(blank - text), (int32_t)rank };
	return true;
}

static int
read_lines(struct loader *l, const char *text, size_t n)
{
	const char *end = text + n;
	size_t cap = 1;

	for (const char *p = text; p < end; p++)
		cap += *p == '\n';
	if (cap > (size_t)TOKENIZER_VOCAB_MAX + 1)
		return err_set(l->e, ERR_BAD_FILE, "%.80s: more than %d lines",
		    l->what, TOKENIZER_VOCAB_MAX);
	if ((l->lines = malloc(cap * sizeof(*l->lines))) == NULL)
		return err_set(l->e, ERR_NO_MEMORY, "%.80s: memory is short",
		    l->what);
	for (size_t k = 1; text < end; k++) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		const char *stop = eol == NULL ? end : eol;

		if (stop > text && stop[-1] == '\r')
			stop--;
		if (stop > text && !parse_line(text, (size_t)(stop - text),
		    &l->lines[l->n++]))
			return err_set(l->e, ERR_BAD_FILE, "%.80s: line %zu is "
			    "not a token in base64 and its rank", l->what, k);
		text = eol == NULL ? end : eol + 1;
	}
	return 0;
}

static int
compare(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return (x->rank > y->rank) - (x->rank < y->rank);
}

/* The tokens that tiktoken's code has and not the file. */
static int
add_specials(struct loader *l, const struct preset *p)
{
	static const char *const qwen[] = { "<|endoftext|>", "<|im_start|>",
	    "<|im_end|>" };
	static const char *const llama[] = { "<|begin_of_text|>",
	    "<|end_of_text|>", "", "", "", "", "<|start_header_id|>",
	    "<|end_header_id|>", "", "<|eot_id|>" };
	size_t n = strcmp(p->name, "llama3") == 0 ? 256 :
	    strcmp(p->name, "qwen2") == 0 ? 3 : 1;
	int reserved = 0, rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const char *name = n < 256 ? qwen[i] :
		    i < sizeof(llama) / sizeof(*llama) ? llama[i] : "";
		char text[64];

		if (*name == '\0') {
			snprintf(text, sizeof(text),
			    "<|reserved_special_token_%d|>", reserved++);
			name = text;
		}
		rc = builder_add(&l->b, name, strlen(name),
		    TOKEN_ADDED | TOKEN_SPECIAL);
	}
	return rc;
}

static int
read_tokens(struct loader *l, const struct preset *p, bool specials)
{
	int32_t next = 0;
	struct buf tmp = { 0 };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->n; i++) {
		const struct line *line = &l->lines[i];

		if (line->rank < next) {
			rc = err_set(l->e, ERR_BAD_FILE, "%.80s: two tokens "
			    "have the rank %d", l->what, (int)line->rank);
			break;
		}
		for (; rc == 0 && next < line->rank; next++)
			rc = builder_add(&l->b, "", 0, 0);
		next++;
		buf_clear(&tmp);
		if (rc == 0 && (line->n == 0 ||
		    !base64_decode(line->text, line->n, &tmp)))
			rc = err_set(l->e, ERR_BAD_FILE, "%.80s: the token of "
			    "rank %d is not in base64", l->what,
			    (int)line->rank);
		if (rc == 0)
			rc = builder_add(&l->b, tmp.data, tmp.len,
			    TOKEN_MODEL);
	}
	if (rc == 0 && tmp.failed)
		rc = err_set(l->e, ERR_NO_MEMORY, "%.80s: memory is short",
		    l->what);
	buf_free(&tmp);
	if (rc == 0 && specials)
		rc = add_specials(l, p);
	return rc != 0 ? rc : builder_end_tokens(&l->b);
}

/* A low rank is a high score; both are exact in a float. */
static int
make_merges(struct loader *l)
{
	size_t n = (size_t)l->b.t->n_vocab;
	float *score = malloc(n * sizeof(*score));
	int rc;

	if (score == NULL)
		return err_set(l->e, ERR_NO_MEMORY, "%.80s: memory is short",
		    l->what);
	for (size_t i = 0; i < n; i++)
		score[i] = -(float)i;
	rc = bpe_make_merges(l->b.t, score, l->e);
	free(score);
	return rc;
}

int
tokenizer_from_ranks(const char *text, size_t n, const char *what,
    const char *pattern, struct tokenizer **t, struct err *e)
{
	struct loader l = { .what = what, .e = e };
	const struct preset *p = pattern == NULL ? NULL : preset_find(pattern);
	bool specials = false;
	int rc;

	if (pattern != NULL && p == NULL)
		return err_set(e, ERR_RANGE, "the pattern '%.40s' is not "
		    "known; known are %s", pattern, preset_names);
	if ((rc = read_lines(&l, text, n)) != 0)
		goto out;
	qsort(l.lines, l.n, sizeof(*l.lines), compare);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (l.n == known[i].n_ranks && l.lines[l.n - 1].rank ==
		    (int32_t)l.n - 1 && (p == NULL ||
		    strcmp(p->name, known[i].pattern) == 0)) {
			p = preset_find(known[i].pattern);
			specials = true;
		}
	if (p == NULL) {
		rc = err_set(e, ERR_UNSUPPORTED, "%.80s: %zu ranks are no "
		    "vocabulary whose pattern is known; say which of %s",
		    what, l.n, preset_names);
		goto out;
	}
	/* Holes and all: the ranks are the ids. */
	rc = builder_start(&l.b, what, (l.n == 0 ? 0 :
	    (size_t)l.lines[l.n - 1].rank + 1) + (specials ? 256 : 0), e);
	if (rc == 0) {
		/* tiktoken takes a word that is a token before it merges. */
		l.b.t->flags = p->flags | TOKENIZER_IGNORE_MERGES;
		rc = tokenizer_add_pattern(l.b.t, p->pattern,
		    strlen(p->pattern), e);
	}
	if (rc == 0 && (rc = read_tokens(&l, p, specials)) == 0)
		rc = make_merges(&l);
	rc = builder_finish(&l.b, rc, t);
out:
	free(l.lines);
	return rc;
}

/*
 * The tokenizer in a .h1b.  Integers are little-endian and without gaps; the
 * container has the checksum.
 *
 *	offset	type	what
 *	0	u32	version: 2
 *	4	u32	flags: 1 ignore_merges, 2 NFC, 4 SentencePiece,
 *			8 fuse_unk, 16 add_bos, 32 prefix, 64 late,
 *			128 prefix first, 256 split blanks; others 0
 *	8	u32	n_vocab, up to 2^21: the highest id and one
 *	12	u32	n_merges, up to 2^24
 *	16	u32	n_token_bytes, up to 2^29: the sum of the token lengths
 *	20	u32	n_patterns, 1 to 8; with SentencePiece 0
 *	24	u32	n_pattern_bytes: the sum of the pattern lengths
 *	28	u32	the id of the unknown token and one; 0: there is none
 *	32	u32[n_merges][3]	left id, right id, id of the two joined;
 *					2^31 on the last: of the same rank as
 *					the merge before
 *		u32[n_patterns]		lengths of the patterns, 1 to 4096
 *		u16[n_vocab]		lengths of the tokens; 0: no such token
 *		u8[n_vocab]		kinds of the tokens; 0: no such token
 *		u8[n_token_bytes]	the tokens, one after the other
 *		u8[n_pattern_bytes]	the patterns, UTF-8, likewise
 *
 * and nothing after it.  A kind is a sum of
 *
 *	1	of the model's vocabulary; no two of these have the same bytes
 *	2	added: found in the text before it is split, up to 512 bytes
 *	4	special, a control token: added, and only found when asked for;
 *		neither a word nor a part of a merge
 *	8	added, and looked for after normalization rather than before,
 *		and itself normalized
 *	16	a byte of a character that has no token, and nothing else
 *	32	added, and takes in the white space before it
 *	64	added, and takes in the white space after it
 *	128	added, and not found beside a letter, digit, mark or _
 *
 * Version 1 has flags 1 and 2, kinds 1 to 8 and 0 at 28, and means flag 16.
 *
 * To encode a text: (1) cut it at the added tokens without 8, the leftmost
 * first, of those beginning there the longest; (2) bring what is left into
 * form NFC if flag 2 is set, and cut it likewise at those with 8; (3) cut each
 * rest by the first pattern, into matches and what is between them, each of
 * these by the next pattern, and so on; (4) a word that is a token of kind 1
 * is that token if flag 1 is set; (5) otherwise begin with the tokens of its
 * single bytes and, while two neighbours are left and right of a merge, join
 * those of the first such merge in the list, leftmost first.  Every byte but
 * C0, C1, F5..FF has a token.  A byte that is not UTF-8 is a word of its own
 * (or U+FFFD if it has no token).  The pattern's dialect is that of Hugging
 * Face's tokenizer.json, as far as split.c takes it: \s is White_Space.
 *
 * With SentencePiece (flag 4) steps 2 to 5 are others.  (2) U+2581 becomes a
 * blank; with prefix a blank is put before each piece, with prefix first only
 * before the one where the text begins; with late all this comes after
 * step 3, and no blank is put before another.  (3) Cut at those with 8.  (4)
 * With split blanks every blank begins a word, otherwise all is one word.  (5)
 * Merges as above, but beginning with the tokens of its characters, or, for one
 * that has none, with the tokens (16) of its bytes, or the unknown one; with
 * fuse_unk there is one of these for characters side by side.
 *
 * To decode: join the bytes of the tokens.  They are the bytes themselves, not
 * GPT-2's printable stand-ins.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer/parts.h"

enum { VERSION = 2, N_HEAD = 8 };

#define TIED ((uint32_t)1 << 31)

static void
put_u32(struct buf *out, uint32_t v)
{
	v = htole32(v);
	buf_add(out, &v, 4);
}

static void
put_u16(struct buf *out, uint16_t v)
{
	v = htole16(v);
	buf_add(out, &v, 2);
}

int
tokenizer_save(const struct tokenizer *t, struct buf *out, struct err *e)
{
	size_t n_before = out->len, n_pattern_bytes = 0;

	for (size_t i = 0; i < t->n_patterns; i++)
		n_pattern_bytes += strlen(t->patterns[i].text);
	const uint32_t head[N_HEAD] = { VERSION, t->flags,
	    (uint32_t)t->n_vocab, (uint32_t)t->n_merges, t->at[t->n_vocab],
	    (uint32_t)t->n_patterns, (uint32_t)n_pattern_bytes,
	    (uint32_t)(t->unk + 1) };

	for (int i = 0; i < N_HEAD; i++)
		put_u32(out, head[i]);
	for (size_t i = 0; i < t->n_merges; i++) {
		put_u32(out, (uint32_t)t->merges[i].left);
		put_u32(out, (uint32_t)t->merges[i].right);
		put_u32(out, (uint32_t)t->merges[i].id |
		    (t->merges[i].tied ? TIED : 0));
	}
	for (size_t i = 0; i < t->n_patterns; i++)
		put_u32(out, (uint32_t)strlen(t->patterns[i].text));
	for (int32_t id = 0; id < t->n_vocab; id++)
		put_u16(out, (uint16_t)(t->at[id + 1] - t->at[id]));
	buf_add(out, t->kind, (size_t)t->n_vocab);
	buf_add(out, t->bytes, t->at[t->n_vocab]);
	for (size_t i = 0; i < t->n_patterns; i++)
		buf_adds(out, t->patterns[i].text);
	if (out->failed) {
		out->len = n_before;
		return err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
	}
	return 0;
}

static uint32_t
get_u32(const unsigned char **p)
{
	uint32_t v;

	memcpy(&v, *p, 4);
	*p += 4;
	return le32toh(v);
}

static int
read_head(const unsigned char **p, size_t n, uint32_t head[N_HEAD],
    struct err *e)
{
	uint64_t size;

	if (n < 4 * N_HEAD)
		return err_set(e, ERR_BAD_FILE,
		    "tokenizer: %zu bytes hold no header", n);
	for (int i = 0; i < N_HEAD; i++)
		head[i] = get_u32(p);
	if (head[0] != 1 && head[0] != VERSION)
		return err_set(e, ERR_UNSUPPORTED,
		    "tokenizer: version %u is not 1 or %d", head[0], VERSION);
	if ((head[1] & ~(uint32_t)(head[0] == 1 ? TOKENIZER_IGNORE_MERGES |
	    TOKENIZER_NFC : TOKENIZER_FLAGS)) != 0 ||
	    (head[0] == 1 && head[7] != 0))
		return err_set(e, ERR_UNSUPPORTED,
		    "tokenizer: unknown flags %u, %u", head[1], head[7]);
	if (head[2] == 0 || head[2] > TOKENIZER_VOCAB_MAX ||
	    head[3] > TOKENIZER_MERGES_MAX || head[4] > TOKENIZER_BYTES_MAX ||
	    head[5] > TOKENIZER_PATTERNS_MAX || head[7] > head[2] ||
	    head[6] > TOKENIZER_PATTERNS_MAX * TOKENIZER_PATTERN_MAX)
		return err_set(e, ERR_BAD_FILE, "tokenizer: a count is out of "
		    "its limits");
	size = 4 * N_HEAD + 12 * (uint64_t)head[3] + 4 * (uint64_t)head[5] +
	    3 * (uint64_t)head[2] + head[4] + head[6];
	if (size != n)
		return err_set(e, ERR_BAD_FILE, "tokenizer: %zu bytes where "
		    "its header says %llu", n, (unsigned long long)size);
	return 0;
}

/* Lengths, kinds and bytes of the tokens. */
static int
read_tokens(struct tokenizer *t, const unsigned char **p, uint32_t version,
    uint32_t n_bytes, struct err *e)
{
	size_t n = (size_t)t->n_vocab;
	uint64_t sum = 0;

	for (size_t id = 0; id < n; id++) {
		uint16_t len;

		memcpy(&len, *p + 2 * id, 2);
		t->at[id] = (uint32_t)sum;
		sum += le16toh(len);
		if (sum > n_bytes)
			break;
	}
	if (sum != n_bytes)
		return err_set(e, ERR_BAD_FILE, "tokenizer: the lengths of the "
		    "tokens do not add up to %u", n_bytes);
	t->at[n] = n_bytes;
	memcpy(t->kind, *p + 2 * n, n);
	for (size_t id = 0; id < n; id++)
		if (version == 1 && t->kind[id] > 0xf)
			return err_set(e, ERR_BAD_FILE, "tokenizer: token %zu "
			    "has kind %u", id, t->kind[id]);
	memcpy(t->bytes, *p + 3 * n, n_bytes);
	*p += 3 * n + n_bytes;
	return 0;
}

static int
read_patterns(struct tokenizer *t, const unsigned char *lengths,
    uint32_t n_patterns, const unsigned char *p, uint32_t n_bytes,
    struct err *e)
{
	int rc;

	for (uint32_t i = 0; i < n_patterns; i++) {
		uint32_t len = get_u32(&lengths);

		if (len > n_bytes)
			return err_set(e, ERR_BAD_FILE, "tokenizer: pattern %u "
			    "is cut short", i);
		if ((rc = tokenizer_add_pattern(t, (const char *)p, len,
		    e)) != 0)
			return rc;
		p += len;
		n_bytes -= len;
	}
	if (n_bytes != 0)
		return err_set(e, ERR_BAD_FILE, "tokenizer: %u bytes after the "
		    "last pattern", n_bytes);
	return 0;
}

int
tokenizer_load(const void *blob, size_t n, struct tokenizer **t,
    struct err *e)
{
	const unsigned char *p = blob, *lengths;
	struct tokenizer *made;
	uint32_t head[N_HEAD];
	int rc = read_head(&p, n, head, e);

	if (rc != 0)
		return rc;
	made = tokenizer_create();
	if (made == NULL)
		return err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
	made->flags = head[1] | (head[0] == 1 ? TOKENIZER_ADD_BOS : 0);
	made->unk = (int32_t)head[7] - 1;
	made->n_vocab = (int32_t)head[2];
	made->n_merges = head[3];
	made->at = malloc(((size_t)head[2] + 1) * sizeof(*made->at));
	made->kind = malloc(head[2]);
	made->merges = malloc(((size_t)head[3] + 1) * sizeof(*made->merges));
	made->bytes = malloc((size_t)head[4] + 1);
	if (made->at == NULL || made->kind == NULL || made->merges == NULL ||
	    made->bytes == NULL) {
		rc = err_set(e, ERR_NO_MEMORY, "tokenizer: memory is short");
		goto fail;
	}
	for (size_t i = 0; i < made->n_merges; i++) {
		made->merges[i].left = (int32_t)get_u32(&p);
		made->merges[i].right = (int32_t)get_u32(&p);

		uint32_t id = get_u32(&p);

		made->merges[i].id = (int32_t)(head[0] == 1 ? id : id & ~TIED);
		made->merges[i].tied = head[0] != 1 && (id & TIED) != 0;
	}
	lengths = p;
	p += 4 * (size_t)head[5];
	if ((rc = read_tokens(made, &p, head[0], head[4], e)) != 0 ||
	    (rc = read_patterns(made, lengths, head[5], p, head[6], e)) != 0 ||
	    (rc = tokenizer_index(made, e)) != 0)
		goto fail;
	*t = made;
	return 0;
fail:
	tokenizer_destroy(made);
	return rc;
}

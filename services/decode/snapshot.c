/*
 * Header, text and their checks, on bytes in memory.  Every number of a file is
 * compared with what is left of it before it is used; nothing is allocated by a
 * number that was not.
 *
 *	header  at	0	magic
 *		8	version, size of the header
 *		16	model, 80 kv_format (NUL-padded), 144 tokenizer
 *		176	page_bytes, 184 n_ctx, 188 KV_PAGE
 *		192	n_text, 200 n_pages, 204 n_ids, 208 n_file
 *		216	saved, Unix ms; 224 salt; 232 turns, 236 flags
 *		240	time to live, ms; 248 CRC of the text, 252 of the header
 *	text	0	tokens in the pages, 4 spans, 8 rest of the lease, ms
 *		16	lengths of key, owner, name and bytes
 *		32	those four, spans (kind, ids, bytes), ids
 */
#include <stdlib.h>
#include <string.h>

#include "model/crc32c.h"
#include "snapshot_parts.h"

enum { PINNED = 1, TEXT_FIXED = 32, SPAN_BYTES = 12 };
static const char magic[8] = "1bit-kv\n";

static void
put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static void
put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t)v);
	put32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	    (uint32_t)p[3] << 24;
}

static uint64_t
get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static int
damaged(struct err *e, const char *what)
{
	return err_set(e, ERR_BAD_FILE, "the snapshot is damaged: %s", what);
}

static int
other(struct err *e, const char *what)
{
	return err_set(e, ERR_UNSUPPORTED, "the snapshot is of another %s",
	    what);
}

static uint64_t
file_size(uint64_t n_text, uint64_t n_pages, uint64_t page_bytes)
{
	return SNAPSHOT_HEADER + n_text + 4 * (n_pages + 1) +
	    n_pages * page_bytes;
}

static int
check_identity(const uint8_t *p, const struct snapshot_identity *id,
    struct err *e)
{
	if (strncmp((const char *)p + 16, id->model, 64) != 0)
		return other(e, "model");
	if (strncmp((const char *)p + 80, id->kv_format, 64) != 0)
		return other(e, "form of the KV cache");
	if (memcmp(p + 144, id->tokenizer, 32) != 0)
		return other(e, "tokenizer");
	if (get64(p + 176) != id->page_bytes || get32(p + 188) != KV_PAGE)
		return other(e, "size of pages");
	if (get32(p + 184) != (uint32_t)id->n_ctx)
		return other(e, "context");
	return 0;
}

int
snapshot_head(const void *bytes, const struct snapshot_identity *id,
    struct snapshot_head *h, struct session_copy *c, struct err *e)
{
	const uint8_t *p = bytes;
	uint64_t ttl_ms;
	int r;

	if (memcmp(p, magic, sizeof(magic)) != 0)
		return damaged(e, "this is no snapshot");
	if (get32(p + 8) != SNAPSHOT_VERSION)
		return other(e, "version");
	if (get32(p + 12) != SNAPSHOT_HEADER ||
	    get32(p + 252) != crc32c(0, p, 252))
		return damaged(e, "the header's sum is wrong");
	if ((r = check_identity(p, id, e)) != 0)
		return r;
	*h = (struct snapshot_head){
		.n_text = get64(p + 192), .n_pages = get32(p + 200),
		.n_ids = get32(p + 204), .n_file = get64(p + 208),
		.saved_ms = (int64_t)get64(p + 216), .text_crc = get32(p + 248),
	};
	ttl_ms = get64(p + 240);
	if (h->n_text > SNAPSHOT_TEXT_MAX || h->n_text < TEXT_FIXED ||
	    h->n_ids > (uint32_t)id->n_ctx || h->n_pages == 0 ||
	    h->n_pages > (h->n_ids + KV_PAGE - 1) / KV_PAGE ||
	    ttl_ms > INT64_MAX / 1000 ||
	    h->n_file != file_size(h->n_text, h->n_pages, id->page_bytes))
		return damaged(e, "a size in the header is impossible");
	c->salt = get64(p + 224);
	c->turns = get32(p + 232);
	c->pinned = (get32(p + 236) & PINNED) != 0;
	c->ttl_us = (int64_t)ttl_ms * 1000;
	return 0;
}

/* What is left of a text. */
struct rest {
	const uint8_t *p;
	uint64_t n;
};

static const uint8_t *
take(struct rest *r, uint64_t n)
{
	const uint8_t *p = r->p;

	if (n > r->n)
		return NULL;
	r->p += n;
	r->n -= n;
	return p;
}

static bool
take_string(struct rest *r, uint32_t n, char *to, size_t size)
{
	const uint8_t *p = take(r, n);

	if (p == NULL || n >= size || memchr(p, 0, n) != NULL)
		return false;
	memcpy(to, p, n);
	to[n] = '\0';
	return true;
}

/* Spans whose ids and bytes are n_ids and n_bytes in all. */
static bool
take_spans(struct rest *r, uint32_t n, uint64_t n_ids, uint64_t n_bytes,
    struct transcript *tr)
{
	const uint8_t *p = take(r, (uint64_t)n * SPAN_BYTES);

	for (uint32_t i = 0; p != NULL && i < n; i++, p += SPAN_BYTES) {
		struct span s = { get32(p), get32(p + 4), get32(p + 8) };

		if (get32(p) > SPAN_IDS || s.n_ids > n_ids ||
		    s.n_text > n_bytes ||
		    (s.kind == SPAN_TOKEN && (s.n_ids != 1 || s.n_text != 0)))
			return false;
		n_ids -= s.n_ids;
		n_bytes -= s.n_text;
		transcript_add(tr, &s);
	}
	return p != NULL && n_ids == 0 && n_bytes == 0;
}

static bool
take_ids(struct rest *r, uint32_t n, int32_t n_vocab, struct transcript *tr)
{
	const uint8_t *p = take(r, (uint64_t)n * 4);

	for (uint32_t i = 0; p != NULL && i < n; i++, p += 4) {
		if (get32(p) >= (uint32_t)n_vocab)
			return false;
		tr->failed = ids_add(&tr->ids, (int32_t)get32(p)) != 0 ||
		    tr->failed;
	}
	return p != NULL && r->n == 0;
}

static bool
take_text(const uint8_t *bytes, const struct snapshot_identity *id,
    const struct snapshot_head *h, struct session_copy *c,
    struct transcript *tr)
{
	struct rest r = { bytes + TEXT_FIXED, h->n_text - TEXT_FIXED };
	uint32_t n_tokens = get32(bytes), n_bytes = get32(bytes + 28);
	uint64_t left_ms = get64(bytes + 8);
	const uint8_t *said;

	if (n_tokens == 0 || n_tokens > h->n_ids ||
	    (n_tokens + KV_PAGE - 1) / KV_PAGE != h->n_pages ||
	    left_ms > INT64_MAX / 1000 ||
	    !take_string(&r, get32(bytes + 16), c->key, sizeof(c->key)) ||
	    !session_is_key(c->key) ||
	    !take_string(&r, get32(bytes + 20), c->owner, sizeof(c->owner)) ||
	    !take_string(&r, get32(bytes + 24), c->name, sizeof(c->name)) ||
	    (said = take(&r, n_bytes)) == NULL)
		return false;
	buf_add(&tr->text, said, n_bytes);
	c->n_tokens = (int32_t)n_tokens;
	c->left_us = (int64_t)left_ms * 1000;
	return take_spans(&r, get32(bytes + 4), h->n_ids, n_bytes, tr) &&
	    take_ids(&r, h->n_ids, id->n_vocab, tr);
}

int
snapshot_text(const void *bytes, const struct snapshot_identity *id,
    const struct snapshot_head *h, struct session_copy *c, struct err *e)
{
	struct transcript *tr;
	int r = 0;

	if (crc32c(0, bytes, h->n_text) != h->text_crc)
		return damaged(e, "the text's sum is wrong");
	if ((tr = calloc(1, sizeof(*tr))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a snapshot");
	if (!take_text(bytes, id, h, c, tr))
		r = damaged(e, "the text does not add up");
	else if (tr->failed || tr->text.failed)
		r = err_set(e, ERR_NO_MEMORY, "no memory for a snapshot");
	if (r == 0)
		c->said = tr;
	else
		transcript_free(tr);
	return r;
}

static uint64_t
text_size(const struct session_copy *c)
{
	return TEXT_FIXED + strlen(c->key) + strlen(c->owner) +
	    strlen(c->name) + c->said->text.len +
	    SPAN_BYTES * c->said->n_spans + 4 * c->said->ids.n;
}

uint64_t
snapshot_size(const struct session_copy *c, const struct snapshot_identity *id)
{
	return file_size(text_size(c), (uint64_t)c->kv.n_pages, id->page_bytes);
}

static uint8_t *
put_bytes(uint8_t *p, const void *bytes, size_t n)
{
	if (n > 0)
		memcpy(p, bytes, n);
	return p + n;
}

static void
put_text(const struct session_copy *c, uint8_t *p)
{
	const struct transcript *tr = c->said;

	put32(p, (uint32_t)c->n_tokens);
	put32(p + 4, (uint32_t)tr->n_spans);
	put64(p + 8, (uint64_t)(c->left_us / 1000));
	put32(p + 16, (uint32_t)strlen(c->key));
	put32(p + 20, (uint32_t)strlen(c->owner));
	put32(p + 24, (uint32_t)strlen(c->name));
	put32(p + 28, (uint32_t)tr->text.len);
	p = put_bytes(p + TEXT_FIXED, c->key, strlen(c->key));
	p = put_bytes(p, c->owner, strlen(c->owner));
	p = put_bytes(p, c->name, strlen(c->name));
	p = put_bytes(p, tr->text.data, tr->text.len);
	for (size_t i = 0; i < tr->n_spans; i++, p += SPAN_BYTES) {
		put32(p, tr->spans[i].kind);
		put32(p + 4, tr->spans[i].n_ids);
		put32(p + 8, tr->spans[i].n_text);
	}
	for (size_t i = 0; i < tr->ids.n; i++, p += 4)
		put32(p, (uint32_t)tr->ids.v[i]);
}

uint8_t *
snapshot_encode(const struct session_copy *c,
    const struct snapshot_identity *id, int64_t now_ms, size_t *n)
{
	uint64_t n_text = text_size(c);
	uint8_t *p = calloc(1, SNAPSHOT_HEADER + n_text);

	if (p == NULL)
		return NULL;
	memcpy(p, magic, sizeof(magic));
	put32(p + 8, SNAPSHOT_VERSION);
	put32(p + 12, SNAPSHOT_HEADER);
	memcpy(p + 16, id->model, strnlen(id->model, 64));
	memcpy(p + 80, id->kv_format, strnlen(id->kv_format, 64));
	memcpy(p + 144, id->tokenizer, 32);
	put64(p + 176, id->page_bytes);
	put32(p + 184, (uint32_t)id->n_ctx);
	put32(p + 188, KV_PAGE);
	put64(p + 192, n_text);
	put32(p + 200, (uint32_t)c->kv.n_pages);
	put32(p + 204, (uint32_t)c->said->ids.n);
	put64(p + 208, snapshot_size(c, id));
	put64(p + 216, (uint64_t)now_ms);
	put64(p + 224, c->salt);
	put32(p + 232, (uint32_t)c->turns);
	put32(p + 236, c->pinned ? PINNED : 0);
	put64(p + 240, (uint64_t)(c->ttl_us / 1000));
	put_text(c, p + SNAPSHOT_HEADER);
	put32(p + 248, crc32c(0, p + SNAPSHOT_HEADER, n_text));
	put32(p + 252, crc32c(0, p, 252));
	*n = SNAPSHOT_HEADER + n_text;
	return p;
}

void
snapshot_put_sums(const uint32_t *sums, uint64_t n, uint8_t *out)
{
	for (uint64_t i = 0; i < n; i++)
		put32(out + 4 * i, sums[i]);
	put32(out + 4 * n, crc32c(0, out, 4 * n));
}

bool
snapshot_get_sums(const uint8_t *bytes, uint64_t n, uint32_t *sums)
{
	for (uint64_t i = 0; i < n; i++)
		sums[i] = get32(bytes + 4 * i);
	return get32(bytes + 4 * n) == crc32c(0, bytes, 4 * n);
}

/*
 * Any bytes as a snapshot.  Checksums and identity would keep the fuzzer at the
 * door, so they are made right first; what is accepted must then add up, and give
 * the same file when it is written again.
 */
#include <stdlib.h>
#include <string.h>

#include "model/crc32c.h"
#include "snapshot_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct snapshot_identity id = { .model = "fingerprint",
	.kv_format = "fuzz", .page_bytes = 64, .n_ctx = 512, .n_vocab = 258 };

static void
seal(uint8_t *p, size_t n)
{
	uint64_t n_text = n - SNAPSHOT_HEADER;
	uint32_t n_pages, crc;
	uint64_t n_file;

	memcpy(p, "1bit-kv\n\1\0\0\0\0\1\0\0", 16);
	memset(p + 16, 0, 160);
	memcpy(p + 16, id.model, strlen(id.model));
	memcpy(p + 80, id.kv_format, strlen(id.kv_format));
	memcpy(p + 176, "\100\0\0\0\0\0\0\0\0\2\0\0\40\0\0\0", 16);
	memcpy(p + 192, &n_text, 8);
	memcpy(&n_pages, p + 200, 4);
	n_file = SNAPSHOT_HEADER + n_text + 4 * ((uint64_t)n_pages + 1) +
	    (uint64_t)n_pages * id.page_bytes;
	memcpy(p + 208, &n_file, 8);
	crc = crc32c(0, p + SNAPSHOT_HEADER, n_text);
	memcpy(p + 248, &crc, 4);
	crc = crc32c(0, p, 252);
	memcpy(p + 252, &crc, 4);
}

static void
check(struct session_copy *c, const struct snapshot_head *h,
    const uint8_t *bytes, size_t n)
{
	const struct transcript *tr = c->said;
	size_t n_ids = 0, n_text = 0, size;
	uint8_t *again;

	for (size_t i = 0; i < tr->n_spans; i++) {
		n_ids += tr->spans[i].n_ids;
		n_text += tr->spans[i].n_text;
	}
	if (n_ids != tr->ids.n || n_text != tr->text.len ||
	    (size_t)c->n_tokens > n_ids || !session_is_key(c->key))
		abort();
	c->kv.n_pages = (int32_t)h->n_pages;
	again = snapshot_encode(c, &id, h->saved_ms, &size);
	if (again == NULL || size != n || memcmp(again + SNAPSHOT_HEADER,
	    bytes + SNAPSHOT_HEADER, n - SNAPSHOT_HEADER) != 0)
		abort();
	free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct session_copy c = { 0 };
	struct snapshot_head h;
	struct err e;
	uint8_t *bytes;

	if (n < SNAPSHOT_HEADER + 1)
		return 0;
	/* The first byte: as they are, or sealed. */
	bytes = malloc(n - 1);
	memcpy(bytes, data + 1, n - 1);
	n--;
	if (data[0] % 4 != 0)
		seal(bytes, n);
	if (snapshot_head(bytes, &id, &h, &c, &e) == 0 &&
	    h.n_text == n - SNAPSHOT_HEADER &&
	    snapshot_text(bytes + SNAPSHOT_HEADER, &id, &h, &c, &e) == 0) {
		check(&c, &h, bytes, n);
		transcript_free(c.said);
	}
	free(bytes);
	return 0;
}

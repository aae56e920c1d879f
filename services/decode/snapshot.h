#ifndef DECODE_SNAPSHOT_H
#define DECODE_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "session.h"

/*
 * A session in a file: what was said, and its KV pages.  It is of use to a worker
 * that has the same model, tokenizer and form of the KV cache; for any other it
 * is refused, and so is a file that is not whole.
 *
 *	header	SNAPSHOT_HEADER bytes, little-endian, see snapshot.c
 *	text	key, owner, name, spans, ids, bytes
 *	sums	CRC-32C of each page, and of these
 *	pages	[n_pages] of page_bytes
 *
 * The CRC of the text is in the header, which ends with its own; so each byte of
 * the file is under one of them.
 */
enum {
	SNAPSHOT_HEADER = 256,
	SNAPSHOT_VERSION = 1,
	SNAPSHOT_TEXT_MAX = 64 << 20,	/* bytes */
};

/* What a snapshot must fit. */
struct snapshot_identity {
	char model[64 + 1];	/* fingerprint */
	char kv_format[64];
	uint8_t tokenizer[32];	/* SHA-256 of what the model file has of it */
	uint64_t page_bytes;
	int32_t n_ctx, n_vocab;
};

/* What the header says. */
struct snapshot_head {
	uint64_t n_text, n_pages, n_file;	/* bytes; pages; bytes in all */
	uint32_t text_crc;
	uint32_t n_ids;
	int64_t saved_ms;	/* Unix */
};

/*
 * The header of a file, at `bytes` [SNAPSHOT_HEADER]; *c
 * gets what stands in it (not key, owner, name, said).  ERR_BAD_FILE if it is no
 * snapshot or damaged, ERR_UNSUPPORTED if it is of something else.
 */
int snapshot_head(const void *bytes, const struct snapshot_identity *id,
    struct snapshot_head *h, struct session_copy *c, struct err *e);

/* The text [h->n_text] after it: key, owner, name and said, which is new. */
int snapshot_text(const void *bytes, const struct snapshot_identity *id,
    const struct snapshot_head *h, struct session_copy *c, struct err *e);

/* Bytes that a file of *c would have; 0 if memory is short. */
uint64_t snapshot_size(const struct session_copy *c,
    const struct snapshot_identity *id);

/*
 * Write *c, whose pages are held, to path: first to another name beside it, which
 * takes its place when it is on disk.  *n_bytes: of the file.  ERR_STORAGE if the
 * disk is full; then an older file is as it was.
 */
int snapshot_write(const char *path, const struct snapshot_identity *id,
    const struct session_copy *c, struct backend *b, int64_t *n_bytes,
    struct err *e);

/* A file that is read. */
struct snapshot {
	int fd;
	struct snapshot_head head;
	uint32_t *sums;		/* [head.n_pages] owned */
};

/* Open path and read all but the pages into *s and *c.  ERR_NOT_FOUND if there
 * is none, otherwise as snapshot_head. */
int snapshot_open(const char *path, const struct snapshot_identity *id,
    struct snapshot *s, struct session_copy *c, struct err *e);

/* Page i [page_bytes] to out. */
int snapshot_page(struct snapshot *s, const struct snapshot_identity *id,
    uint64_t i, void *out, struct err *e);
void snapshot_close(struct snapshot *s);

#endif

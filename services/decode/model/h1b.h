#ifndef DECODE_H1B_H
#define DECODE_H1B_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "model/model.h"

/*
 * The container of a model, version 6; specified in docs/model-format.md.
 *
 *	header		struct h1b_header
 *	directory	struct h1b_entry [n_sections]
 *	sections	each at the next multiple of 64, with zeros between
 *
 * Which sections there are, in which order and how large, follows from the
 * header alone, except for the length of the first few, which are text.  So
 * the directory is compared with what it must be, and nothing in it is ever
 * multiplied or searched.  Little-endian, as the machines this runs on.
 */
enum {
	H1B_VERSION = 6,	/* 1..5 are the formats of earlier engines */
	H1B_ALIGN = 64,
	H1B_NAME_MAX = 56,	/* bytes with the NUL */
	H1B_TEXT_MAX = 1 << 20,	/* chat template, source: bytes */
	H1B_TOKENIZER_MAX = 64 << 20,	/* bytes */
	H1B_PROBE_MAX = 1 << 20,
};

#define H1B_MAGIC "H1B"		/* and its NUL */

enum h1b_flag {
	H1B_ROPE_INTERLEAVED = 1,
	H1B_SUB_NORMS = 2,
	H1B_TIED = 4,
	H1B_QK_NORM = 8,
	H1B_ACT_FLOAT = 16,
	H1B_HAS_PROBE = 32,
	H1B_FLAGS = 63,
};

enum h1b_type {
	H1B_BF16 = DENSE_BF16,
	H1B_I8 = DENSE_I8,
	H1B_F32 = DENSE_F32,
	H1B_T2 = 4,
	H1B_BYTES = 5,
	H1B_F16 = DENSE_F16,
	H1B_Q6 = DENSE_Q6,
	H1B_Q4 = DENSE_Q4,
	H1B_B3 = 9,
};

/* What has factors by groups of columns, in the order of the header. */
enum h1b_group {
	H1B_GROUP_Q, H1B_GROUP_K, H1B_GROUP_V, H1B_GROUP_O, H1B_GROUP_GATE,
	H1B_GROUP_UP, H1B_GROUP_DOWN, H1B_GROUP_EMBED, H1B_GROUP_HEAD,
	H1B_GROUPS,
};

struct h1b_header {
	char magic[4];
	int32_t version;
	uint64_t file_size;
	uint32_t header_size;		/* 256 */
	uint32_t n_sections;
	uint32_t directory_crc;		/* CRC-32C of the directory */
	uint32_t header_crc;		/* of these 256 bytes with this one 0 */
	int32_t vocab, hidden, n_layers, n_heads;
	int32_t n_kv_heads, head_dim, ffn, n_ctx;
	float rope_theta, norm_eps;
	uint32_t act, flags;
	int32_t bos, n_eos;
	uint32_t embed_type, head_type;	/* head_type 0: tied */
	int32_t eos[MODEL_EOS_MAX];
	int32_t groups[H1B_GROUPS];	/* columns of a factor; 0: all of a row */
	uint32_t body_type;		/* H1B_B3, or 0: T2 */
	uint8_t zero[88];
};

struct h1b_entry {
	char name[H1B_NAME_MAX];	/* filled up with NULs */
	uint32_t type;
	uint32_t crc;			/* CRC-32C of the section's bytes */
	uint64_t dims[2];		/* rows, columns; vectors have 1 row */
	uint64_t offset, size;		/* in the file; bytes */
};

/* What a section is for, whatever its name in a file. */
enum h1b_part {
	H1B_ARCHITECTURE, H1B_NAME, H1B_SOURCE, H1B_CHAT_TEMPLATE,
	H1B_TOKENIZER, H1B_EMBED, H1B_NORM, H1B_HEAD,
	H1B_ATTN_NORM, H1B_Q, H1B_K, H1B_V, H1B_ATTN_SUB_NORM, H1B_O,
	H1B_FFN_NORM, H1B_GATE, H1B_UP, H1B_FFN_SUB_NORM, H1B_DOWN,
	H1B_Q_NORM, H1B_K_NORM, H1B_PROBE,
};

struct h1b_section {
	char name[H1B_NAME_MAX];
	enum h1b_part part;
	int32_t layer;			/* -1 outside the layers */
	bool scale;			/* the scales of the section before it */
	enum h1b_type type;
	uint64_t dims[2];
	int32_t group;			/* columns of a factor, if there are any */
	uint64_t size;			/* bytes; for BYTES the largest allowed */
};

/* What the sections follow from, besides the sizes. */
struct h1b_form {
	enum dense_type embed_type, head_type;	/* head_type 0 when tied */
	int32_t groups[H1B_GROUPS];	/* as in the header */
	enum ternary_form body;		/* of all ternary matrices */
	bool probe;
};

/*
 * Are the types known, and is each group 0 or a multiple of 64 (of a ternary
 * matrix; 16 of an I8 one, of others 0) less than the columns?  c has passed
 * model_config_check.
 */
int h1b_form_check(const struct model_config *c, const struct h1b_form *f,
    struct err *e);

/*
 * The sections of a model of sizes c and form f (which the two checks passed),
 * in their order.  *list [*n] is the caller's to free.
 */
int h1b_layout(const struct model_config *c, const struct h1b_form *f,
    struct h1b_section **list, uint32_t *n, struct err *e);

/* Where the groups of a matrix are in the header, or -1: no matrix. */
int h1b_group_of(enum h1b_part part);

/* Columns of a part of a model of sizes c. */
int32_t h1b_columns(const struct model_config *c, enum h1b_part part);

/* The matrix of l that part is, or NULL: no matrix. */
struct ternary *h1b_ternary(struct model_layer *l, enum h1b_part part);

/* The next multiple of H1B_ALIGN. */
uint64_t h1b_align(uint64_t offset);

/* "bf16", "i8", "f32", "t2", "bytes", "f16", "q6", "q4", "b3", or "?". */
const char *h1b_type_name(uint32_t type);

/* Is it a ternary matrix? */
static inline bool
h1b_is_ternary(enum h1b_type type)
{
	return type == H1B_T2 || type == H1B_B3;
}

/* Bytes of a row of n_in weights in layout T2. */
int32_t h1b_t2_stride(int32_t n_in);

/* codes [n_in], each 0..2, to one row of layout T2: out [h1b_t2_stride(n_in)]. */
void h1b_t2_pack(const uint8_t *codes, int32_t n_in, uint8_t *out);

/*
 * Where a file that is to be written takes its contents from.  Rows are asked
 * for in order, one at a time, so that no tensor need be in memory.
 */
struct h1b_source {
	struct model_config config;
	/*
	 * How embedding and head are to be held, at first as the source has
	 * them; whoever writes may change it.  head_type 0 when tied.  A group
	 * (I8 only) above 0, up to the columns: row_i8 gives the bytes and a
	 * factor for each so many columns.  0: the writer makes one factor a
	 * row of what `row` gives.  A head_group above 0 of a head that is
	 * packed: row_packed gives its rows.
	 */
	enum dense_type embed_type, head_type;
	int32_t embed_group, head_group;
	/* The source's head is its embedding; whoever writes cleared
	 * config.tied, to have it once more in another type. */
	bool head_of_embed;
	/* How ternary matrices are to be held; whoever writes sets it. */
	enum ternary_form body;
	const char *architecture, *name, *origin;	/* printable ASCII */
	const char *chat_template;
	size_t n_chat_template;
	const void *tokenizer;		/* blob of tokenizer_save */
	size_t n_tokenizer;
	/* Row `row` of a norm (one row), embedding or head: out [columns]. */
	int (*row)(void *arg, enum h1b_part part, int32_t layer, int32_t row,
	    float *out, struct err *e);
	/*
	 * Row `row` of an embedding or head that is int8: q [columns], each
	 * -127..127, scales [ceil(columns / group)].  NULL: none is.
	 */
	int (*row_i8)(void *arg, enum h1b_part part, int32_t row, int8_t *q,
	    float *scales, struct err *e);
	/* Row `row` of a head that is packed: out [packed_stride]. */
	int (*row_packed)(void *arg, int32_t row, uint8_t *out, float *scale,
	    struct err *e);
	/*
	 * Columns of a ternary tensor that share a factor: a multiple of 64, or
	 * the columns of the row.  NULL: all of a row, everywhere.
	 */
	int32_t (*group)(void *arg, enum h1b_part part, int32_t layer);
	/*
	 * Row `row` of a ternary tensor: codes [columns], 0..2, and its factors,
	 * scales [ceil(columns / group)], finite and not negative.
	 */
	int (*codes)(void *arg, enum h1b_part part, int32_t layer, int32_t row,
	    uint8_t *codes, float *scales, struct err *e);
	/*
	 * Called now and then: give back the memory of what was read, as by
	 * madvise(MADV_DONTNEED) on a mapped file.  May be NULL.
	 */
	void (*drop)(void *arg);
	void *arg;
	/* Of whoever writes.  Bytes written, of so many.  May be NULL. */
	void (*progress)(void *writer_arg, uint64_t done, uint64_t total);
	/*
	 * Append the probe of m, which is what was written: see selfcheck.h.
	 * NULL: the file has none.  Only h1b_write calls it.
	 */
	int (*probe)(void *writer_arg, const struct model *m, struct buf *out,
	    struct err *e);
	void *writer_arg;
};

/*
 * Write s to path: to a file beside it, synced, then renamed, so that path is
 * never half a model.  ERR_EXISTS if path exists and force is not set;
 * ERR_RANGE for a config or text out of its limits, ERR_BAD_FILE for a weight
 * or scale that is not finite.
 */
int h1b_write(const char *path, const struct h1b_source *s, bool force,
    struct err *e);

/*
 * model_parse, which see, for a file that is mapped; light: as model_open_with.
 */
int h1b_parse(const void *bytes, size_t n, const char *what, bool light,
    struct model *m, struct err *e);

/*
 * The bytes that h1b_write would write but for a probe: *image [*n] begins at
 * a multiple of 2 MiB and is the caller's, for munmap.
 */
int h1b_image(const struct h1b_source *s, void **image, size_t *n,
    struct err *e);

#endif

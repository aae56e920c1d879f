#ifndef DECODE_LEGACY_H
#define DECODE_LEGACY_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "model/h1b.h"

/*
 * The .h1b files of earlier engines, versions 1 to 4, as a source of one of
 * version 6.  They hold BitNet b1.58 models alone: relu2, sub-norms, the head is
 * the embedding.  Little-endian, no checksums:
 *
 *	0	"H1B\0", i32 version
 *	8	i32 hidden, ffn, layers, heads, kv_heads, vocab, n_ctx, tied, flags
 *	44	from version 2: f32 rope_theta, rms_eps; 0 or less: 500000, 1e-5
 *	then	f32 embedding [vocab, hidden], norm [hidden]; for each layer f32
 *		attn_norm, ffn_norm, attn_sub_norm [hidden], 5 hidden of filling,
 *		ffn_sub_norm [ffn], and q k v o gate up down: rows, f32 [rows]
 *
 * A row of weights is, by version:
 *
 *	1, 2	two bits each, four in a byte from the low end, as w + 1
 *	3	(Sherry) five bits for four weights of which one is 0: in a stream
 *		from the low end, two bits where the 0 is, then for each of the
 *		others in order a bit, 1 for +1; rows of a multiple of 32 columns
 *	4	five in a byte, the sum of (w + 1) 3^i; columns filled up to a
 *		multiple of 20
 *
 * There are writers of other layouts under these numbers, so a file must have
 * exactly the size that its header gives.  The tokenizer is NAME.htok, or else
 * tokenizer.json, beside NAME.h1b.
 */
struct legacy;

/*
 * Everything but single weights and the finiteness of floats is checked here.
 * ERR_UNSUPPORTED names what is understood but not offered (a flag, version 5),
 * ERR_BAD_FILE what is wrong, ERR_NOT_FOUND a tokenizer that is not there.
 */
int legacy_open(const char *path, struct legacy **l, struct err *e);

/*
 * From memory, without a tokenizer: bytes [n], borrowed until legacy_close.
 * what: its name in sentences.  Then config.bos is -1 and config.n_eos 0.
 */
int legacy_parse(const void *bytes, size_t n, const char *what,
    struct legacy **l, struct err *e);
void legacy_close(struct legacy *l);	/* NULL is fine */

/*
 * Fill *s but for what is the writer's, and name and origin.  What it points to
 * is borrowed from l, and arg is l.  The embedding is bf16 where that holds
 * every value of it, else f32.
 */
void legacy_source(struct legacy *l, struct h1b_source *s);

#endif

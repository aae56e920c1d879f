/*
 * One function per layout, from the tables of ggml's block structures and of
 * the forks that have types of their own; numbers above 100 are theirs.  A
 * number means what most files with ternary weights mean by it: 36 to 39 were
 * other types in upstream ggml, which no longer writes them.
 */
#include <string.h>

#include "half.h"
#include "model/gguf_types.h"

enum { BAD = GGUF_TERNARY_BAD };

static float
half_at(const uint8_t *p)
{
	uint16_t h;

	memcpy(&h, p, 2);
	return half_to_f32(h);
}

static void
floats_f32(const uint8_t *p, size_t n, float *out)
{
	memcpy(out, p, n * sizeof(*out));
}

static void
floats_f16(const uint8_t *p, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = half_at(p + 2 * i);
}

static void
floats_bf16(const uint8_t *p, size_t n, float *out)
{
	uint16_t b;

	for (size_t i = 0; i < n; i++) {
		memcpy(&b, p + 2 * i, 2);
		out[i] = bfloat_to_f32(b);
	}
}

/* Q8_0: F16 d, then 32 signed bytes. */
static void
ints_q8_0(const uint8_t *p, size_t n, int8_t *q, float *scales)
{
	for (; n > 0; n--, p += 34, q += 32) {
		*scales++ = half_at(p);
		memcpy(q, p + 2, 32);
	}
}

/*
 * Q6_K: low nibbles [128], upper two bits [64], signed factors [16], F16 d.
 * The block is two halves of 128; byte i of 64 of a half's nibbles holds
 * elements i and i + 64, byte i of 32 of its upper bits i, i + 32, i + 64 and
 * i + 96.
 */
static void
ints_q6_k(const uint8_t *p, size_t n, int8_t *q, float *scales)
{
	for (; n > 0; n--, p += 210) {
		float d = half_at(p + 208);

		for (int i = 0; i < 256; i++) {
			int half = i / 128, in = i % 128;
			int low = p[64 * half + in % 64] >> in / 64 * 4 & 15;
			int high = p[128 + 32 * half + in % 32] >>
			    in / 32 * 2 & 3;

			*q++ = (int8_t)((low | high << 4) - 32);
		}
		for (int i = 0; i < 16; i++)
			*scales++ = d * (float)(int8_t)p[192 + i];
	}
}

/* As floats, what other engines make of them: factor times integer. */
static void
floats_of_ints(const struct gguf_type *t, const uint8_t *p, size_t n,
    float *out)
{
	float scales[16];
	int8_t q[GGUF_BLOCK_MAX];

	for (; n > 0; n--, p += t->bytes) {
		t->ints(p, 1, q, scales);
		for (int i = 0; i < t->block; i++)
			*out++ = scales[i / t->group] * (float)q[i];
	}
}

static void
floats_q8_0(const uint8_t *p, size_t n, float *out)
{
	floats_of_ints(gguf_type(8), p, n, out);
}

static void
floats_q6_k(const uint8_t *p, size_t n, float *out)
{
	floats_of_ints(gguf_type(14), p, n, out);
}

/*
 * Q4_K: F16 d, F16 dmin, factors [12], nibbles [128].  Eight runs of 32, each
 * with a factor and an offset of six bits; two runs share 32 bytes of nibbles.
 */
static void
floats_q4_k(const uint8_t *p, size_t n, float *out)
{
	for (; n > 0; n--, p += 144) {
		float d = half_at(p), dmin = half_at(p + 2);
		const uint8_t *s = p + 4;

		for (int run = 0; run < 8; run++) {
			const uint8_t *nibbles = p + 16 + run / 2 * 32;
			int factor, offset;

			if (run < 4) {
				factor = s[run] & 63;
				offset = s[run + 4] & 63;
			} else {
				factor = (s[run + 4] & 15) |
				    s[run - 4] >> 6 << 4;
				offset = s[run + 4] >> 4 | s[run] >> 6 << 4;
			}
			for (int i = 0; i < 32; i++)
				*out++ = d * (float)factor *
				    (float)(nibbles[i] >> run % 2 * 4 & 15) -
				    dmin * (float)offset;
		}
	}
}

/* Element i * n_bytes + j is in byte j, in its pair of bits i (or 3 - i). */
static void
spread(const uint8_t *p, int n_bytes, bool high_first, uint8_t *out)
{
	for (int i = 0; i < 4; i++) {
		int shift = high_first ? 6 - 2 * i : 2 * i;

		for (int j = 0; j < n_bytes; j++)
			*out++ = p[j] >> shift & 3;
	}
}

/* I2_S as the x86 build writes it, the first run in the upper bits. */
static void
codes_i2_s(const uint8_t *p, size_t n, uint8_t *codes)
{
	for (; n > 0; n--, p += 32, codes += 128)
		spread(p, 32, true, codes);
}

static void
codes_tq2_0(const uint8_t *p, size_t n, uint8_t *codes)
{
	for (; n > 0; n--, p += 66, codes += 256) {
		spread(p, 32, false, codes);
		spread(p + 32, 32, false, codes + 128);
	}
}

/*
 * Trit i of a byte of five, the first in the most significant place of
 * v = ceil(256 / 243 * (t0 3^4 + t1 3^3 + ...)).  Thirteen bytes are not of
 * that form, and no writer makes them.
 */
static void
trits(const uint8_t *p, int n_bytes, int n_trits, uint8_t *out)
{
	static const uint8_t powers[] = { 1, 3, 9, 27, 81 };

	for (int j = 0; j < n_bytes; j++) {
		int v = p[j] * 243 >> 8;
		bool ok = (v * 256 + 242) / 243 == p[j];

		for (int i = 0; i < n_trits; i++)
			out[i * n_bytes + j] = !ok ? BAD : (uint8_t)
			    ((p[j] * powers[i] & 255) * 3 >> 8);
	}
}

/* TQ1_0: 32 bytes and 16 bytes of five trits, 4 bytes of four, F16 d. */
static void
codes_tq1_0(const uint8_t *p, size_t n, uint8_t *codes)
{
	for (; n > 0; n--, p += 54, codes += 256) {
		trits(p, 32, 5, codes);
		trits(p + 32, 16, 5, codes + 160);
		trits(p + 48, 4, 4, codes + 240);
	}
}

/* PTQ1_0: the same in a block of 128: 16 bytes, 8 bytes, 2 bytes, F16 d. */
static void
codes_ptq1_0(const uint8_t *p, size_t n, uint8_t *codes)
{
	for (; n > 0; n--, p += 28, codes += 128) {
		trits(p, 16, 5, codes);
		trits(p + 16, 8, 5, codes + 80);
		trits(p + 24, 2, 4, codes + 120);
	}
}

/* Q1_0: F16 d, one bit each: -d or +d. */
static void
codes_q1_0(const uint8_t *p, size_t n, uint8_t *codes)
{
	for (; n > 0; n--, p += 18)
		for (int i = 0; i < 128; i++)
			*codes++ = (uint8_t)((p[2 + i / 8] >> i % 8 & 1) * 2);
}

/* F16 d, four elements a byte in their order. */
static void
codes_in_order(const uint8_t *p, size_t n, int block, uint8_t *codes)
{
	for (; n > 0; n--, p += 2 + block / 4)
		for (int i = 0; i < block; i++)
			*codes++ = p[2 + i / 4] >> i % 4 * 2 & 3;
}

static void
codes_q2_0(const uint8_t *p, size_t n, uint8_t *codes)
{
	codes_in_order(p, n, 64, codes);
}

static void
codes_pq2_0(const uint8_t *p, size_t n, uint8_t *codes)
{
	codes_in_order(p, n, 128, codes);
}

#define FLOATS(id, name, bytes, f) \
	{ id, name, GGUF_FLOATS, 1, bytes, 0, 0, 0, f, NULL, NULL }
#define TERNARY(id, name, block, bytes, scale_at, f) \
	{ id, name, GGUF_TERNARY, block, bytes, block, 0, scale_at, NULL, NULL, f }
#define NAME(number, text) { .id = number, .name = text }

static const struct gguf_type types[] = {
	FLOATS(GGUF_F32_TYPE, "F32", 4, floats_f32),
	FLOATS(GGUF_F16_TYPE, "F16", 2, floats_f16),
	FLOATS(GGUF_BF16_TYPE, "BF16", 2, floats_bf16),
	{ 8, "Q8_0", GGUF_QUANTS, 32, 34, 32, 0, 0, floats_q8_0, ints_q8_0,
	    NULL },
	{ 12, "Q4_K", GGUF_QUANTS, 256, 144, 0, 0, 0, floats_q4_k, NULL, NULL },
	{ 14, "Q6_K", GGUF_QUANTS, 256, 210, 16, 0, 0, floats_q6_k, ints_q6_k,
	    NULL },
	TERNARY(34, "TQ1_0", 256, 54, 52, codes_tq1_0),
	TERNARY(35, "TQ2_0", 256, 66, 64, codes_tq2_0),
	{ GGUF_I2_S_TYPE, "I2_S", GGUF_TERNARY, 128, 32, 0, 32, 0, NULL, NULL,
	    codes_i2_s },
	TERNARY(41, "Q1_0", 128, 18, 0, codes_q1_0),
	TERNARY(GGUF_Q2_0_TYPE, "Q2_0", 64, 18, 0, codes_q2_0),
	TERNARY(142, "PQ2_0", 128, 34, 0, codes_pq2_0),
	TERNARY(143, "PTQ1_0", 128, 28, 26, codes_ptq1_0),
	NAME(2, "Q4_0"), NAME(3, "Q4_1"), NAME(4, "Q4_2"), NAME(5, "Q4_3"),
	NAME(6, "Q5_0"), NAME(7, "Q5_1"), NAME(9, "Q8_1"), NAME(10, "Q2_K"),
	NAME(11, "Q3_K"), NAME(13, "Q5_K"), NAME(15, "Q8_K"),
	NAME(16, "IQ2_XXS"), NAME(17, "IQ2_XS"), NAME(18, "IQ3_XXS"),
	NAME(19, "IQ1_S"), NAME(20, "IQ4_NL"), NAME(21, "IQ3_S"),
	NAME(22, "IQ2_S"), NAME(23, "IQ4_XS"), NAME(24, "I8"), NAME(25, "I16"),
	NAME(26, "I32"), NAME(27, "I64"), NAME(28, "F64"), NAME(29, "IQ1_M"),
	NAME(31, "Q4_0_4_4"), NAME(32, "Q4_0_4_8"), NAME(33, "Q4_0_8_8"),
	NAME(37, "I8_S"), NAME(38, "TL1"), NAME(39, "TL2 or MXFP4"),
	NAME(40, "NVFP4"), NAME(134, "IQ1_BN"), NAME(135, "IQ2_BN"),
	NAME(335, "IQ2_BN_R4"),
};

const struct gguf_type *
gguf_type(uint32_t id)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].id == id)
			return &types[i];
	return NULL;
}

const struct gguf_type *
gguf_type_q2_0_128(void)
{
	static const struct gguf_type legacy =
	    TERNARY(GGUF_Q2_0_TYPE, "Q2_0", 128, 34, 0, codes_pq2_0);

	return &legacy;
}

bool
gguf_type_size(const struct gguf_type *t, uint64_t n_rows, uint64_t n_cols,
    uint64_t *out)
{
	uint64_t n = n_cols / (uint64_t)t->block;

	return !__builtin_mul_overflow(n, (uint64_t)t->bytes, &n) &&
	    !__builtin_mul_overflow(n, n_rows, &n) &&
	    !__builtin_add_overflow(n, (uint64_t)t->tail, out);
}

void
gguf_type_scales(const struct gguf_type *t, const uint8_t *p, size_t n_blocks,
    float *scales)
{
	for (size_t i = 0; i < n_blocks; i++)
		scales[i] = half_at(p + i * (size_t)t->bytes +
		    (size_t)t->scale_at);
}

/*
 * AVX2: vpmaddubsw multiplies 32 codes 0..2 (unsigned) by 32 activations
 * (signed) and adds them by pairs.  A pair is at most 2 * 2 * 128 = 512, so up
 * to 63 of them are added in 16 bits before they are widened: blocks are taken
 * in groups of GROUP, 8 pairs each.  What the offset of 1 in the codes adds is
 * the sum of the row, subtracted once.
 *
 * A vector of 16 lanes is two registers, so every sum has the order that
 * AVX-512 gives it.
 */
#include <immintrin.h>
#include <string.h>

#include "backend/cpu_kernels.h"

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define VF TARGET static inline __attribute__((always_inline))

enum { PV_BLOCK = 2, OUT_TILE = 32, GROUP = 7, AHEAD = 4096 };
#define ATTEND_QUERIES 2

int cpu_avx2_open(struct cpu_kernels *k, struct err *e);

typedef struct { __m256 a, b; } vf;

/* Lanes i < n of 8. */
VF __m256i
first_lanes(int n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n),
	    _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

#define EACH(F) (vf){ F(a), F(b) }
VF vf vf_zero(void) { return (vf){ _mm256_setzero_ps(), _mm256_setzero_ps() }; }
VF vf vf_set1(float x) { return (vf){ _mm256_set1_ps(x), _mm256_set1_ps(x) }; }
VF vf
vf_load(const float *p)
{
	return (vf){ _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
}
VF vf
vf_load_n(const float *p, int n)
{
	return (vf){ _mm256_maskload_ps(p, first_lanes(n)),
	    n > 8 ? _mm256_maskload_ps(p + 8, first_lanes(n - 8)) :
	    _mm256_setzero_ps() };
}
VF void
vf_store(float *p, vf v)
{
	_mm256_storeu_ps(p, v.a);
	_mm256_storeu_ps(p + 8, v.b);
}
VF void
vf_store_n(float *p, vf v, int n)
{
	_mm256_maskstore_ps(p, first_lanes(n), v.a);
	if (n > 8)
		_mm256_maskstore_ps(p + 8, first_lanes(n - 8), v.b);
}
#define ADD(h) _mm256_add_ps(x.h, y.h)
#define SUB(h) _mm256_sub_ps(x.h, y.h)
#define MUL(h) _mm256_mul_ps(x.h, y.h)
#define DIV(h) _mm256_div_ps(x.h, y.h)
#define MIN(h) _mm256_min_ps(x.h, y.h)
#define MAX(h) _mm256_max_ps(x.h, y.h)
#define FMA(h) _mm256_fmadd_ps(x.h, y.h, z.h)
#define ROUND(h) _mm256_round_ps(x.h, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
/* 2^n: n is the exponent of a float. */
#define POW2(h) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32( \
    _mm256_cvtps_epi32(x.h), _mm256_set1_epi32(127)), 23))
VF vf vf_add(vf x, vf y) { return EACH(ADD); }
VF vf vf_sub(vf x, vf y) { return EACH(SUB); }
VF vf vf_mul(vf x, vf y) { return EACH(MUL); }
VF vf vf_div(vf x, vf y) { return EACH(DIV); }
VF vf vf_min(vf x, vf y) { return EACH(MIN); }
VF vf vf_max(vf x, vf y) { return EACH(MAX); }
VF vf vf_fma(vf x, vf y, vf z) { return EACH(FMA); }
VF vf vf_round(vf x) { return EACH(ROUND); }
VF vf vf_pow2(vf x) { return EACH(POW2); }

VF float
vf_sum(vf v)
{
	__m256 a = _mm256_add_ps(v.a, v.b);
	__m128 b = _mm_add_ps(_mm256_castps256_ps128(a),
	    _mm256_extractf128_ps(a, 1));

	b = _mm_add_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}

VF float
vf_hmax(vf v)
{
	__m256 a = _mm256_max_ps(v.a, v.b);
	__m128 b = _mm_max_ps(_mm256_castps256_ps128(a),
	    _mm256_extractf128_ps(a, 1));

	b = _mm_max_ps(b, _mm_movehl_ps(b, b));
	return _mm_cvtss_f32(_mm_max_ss(b, _mm_shuffle_ps(b, b, 1)));
}

VF vf
vf_load_f16(const uint16_t *p)
{
	return (vf){ _mm256_cvtph_ps(_mm_loadu_si128((const void *)p)),
	    _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8))) };
}

VF void
vf_store_f16(uint16_t *p, vf v)
{
	_mm_storeu_si128((void *)p, _mm256_cvtps_ph(v.a, 0));
	_mm_storeu_si128((void *)(p + 8), _mm256_cvtps_ph(v.b, 0));
}

VF __m256
widen_bf16(const uint16_t *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(
	    _mm_loadu_si128((const void *)p)), 16));
}

VF vf
vf_load_bf16(const uint16_t *p)
{
	return (vf){ widen_bf16(p), widen_bf16(p + 8) };
}

/* The 16 lanes, rounded, as 16-bit integers in order. */
VF __m256i
to_i16(vf v)
{
	return _mm256_permute4x64_epi64(_mm256_packs_epi32(
	    _mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b)), 0xd8);
}

VF __m256
widen_i8(const int8_t *p)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(
	    _mm_loadl_epi64((const void *)p)));
}

VF vf
vf_load_i8(const int8_t *p)
{
	return (vf){ widen_i8(p), widen_i8(p + 8) };
}

VF void
vf_store_i8(int8_t *q, vf v)
{
	__m256i w = to_i16(v);

	_mm_storeu_si128((void *)q, _mm_packs_epi16(_mm256_castsi256_si128(w),
	    _mm256_extracti128_si256(w, 1)));
}

VF int32_t
sum_64(const int8_t *q)
{
	/* Made unsigned: 128 is added to each. */
	const __m256i flip = _mm256_set1_epi8(-128), zero = _mm256_setzero_si256();
	__m256i a = _mm256_xor_si256(flip, _mm256_loadu_si256((const void *)q));
	__m256i b = _mm256_xor_si256(flip,
	    _mm256_loadu_si256((const void *)(q + 32)));
	int64_t lanes[4];

	a = _mm256_add_epi64(_mm256_sad_epu8(a, zero), _mm256_sad_epu8(b, zero));
	memcpy(lanes, &a, sizeof(lanes));
	return (int32_t)(lanes[0] + lanes[1] + lanes[2] + lanes[3]) - 64 * 128;
}

/* The hidden state in 16 bits; the same integers as AVX-512 takes. */
TARGET static void
vf_prepare(const float *f, float top, struct cpu_hidden *out, int r)
{
	int16_t *q = out->q + (size_t)r * (size_t)out->q_stride;
	float s = 32512.0F / (top > 1e-30F ? top : 1e-30F);
	int64_t sum = 0;

	memset(q, 0, (size_t)out->q_stride * sizeof(*q));
	for (int i = 0; i < out->f_stride; i += CPU_LANES) {
		_mm256_storeu_si256((void *)(q + i),
		    to_i16(vf_mul(vf_load(f + i), vf_set1(s))));
		for (int j = 0; j < CPU_LANES; j++)
			sum += q[i + j];
	}
	out->sum[r] = sum;
	out->scale[r] = 1.0F / s;
}

#include "backend/cpu_float.h"

INLINE int32_t
add_up(__m256i v)
{
	__m128i a = _mm_add_epi32(_mm256_castsi256_si128(v),
	    _mm256_extracti128_si256(v, 1));

	a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1)));
}

/* Blocks from at to end (bytes) of 2 outputs and n_r rows, in 16 bits. */
INLINE void
add_group(const uint8_t *const *codes, const int8_t *q, size_t stride,
    const int n_r, int at, int end, __m256i (*acc)[4])
{
	const __m256i mask = _mm256_set1_epi8(3);

	for (; at < end; at += 32) {
		const int8_t *x = q + at / 64 * TERNARY_BLOCK + at % 64;
		__m256i v[2], c;

		v[0] = _mm256_loadu_si256((const void *)(codes[0] + at));
		v[1] = _mm256_loadu_si256((const void *)(codes[1] + at));
#pragma GCC unroll 4
		for (int part = 0; part < 4; part++, x += 64) {
#pragma GCC unroll 2
			for (int i = 0; i < 2; i++) {
				c = _mm256_and_si256(v[i], mask);
				v[i] = _mm256_srli_epi16(v[i], 2);
#pragma GCC unroll 4
				for (int j = 0; j < n_r; j++)
					acc[i][j] = _mm256_add_epi16(acc[i][j],
					    _mm256_maddubs_epi16(c,
					        _mm256_loadu_si256((const void *)
					            (x + (size_t)j * stride))));
			}
		}
	}
}

/* 2 outputs of n_r rows; n_r is a constant after inlining. */
INLINE void
tile_n(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    int r, const int n_r, float *y, int y_stride, bool add)
{
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const __m256i ones = _mm256_set1_epi16(1);
	const uint8_t *codes[2];
	__m256i sum[2][4], acc[2][4];

	codes[0] = w->codes + (size_t)o * (size_t)w->stride;
	codes[1] = n_o > 1 ? codes[0] + w->stride : codes[0];
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < n_r; j++)
			sum[i][j] = _mm256_setzero_si256();
	for (int at = 0; at < w->stride; at += GROUP * 64) {
		int end = at + GROUP * 64 < w->stride ? at + GROUP * 64 :
		    w->stride;

#pragma GCC unroll 2
		for (int i = 0; i < 2; i++) {
			_mm_prefetch((const char *)codes[i] + at + AHEAD,
			    _MM_HINT_T0);
#pragma GCC unroll 4
			for (int j = 0; j < n_r; j++)
				acc[i][j] = _mm256_setzero_si256();
		}
		add_group(codes, q, (size_t)x->stride, n_r, at, end, acc);
#pragma GCC unroll 2
		for (int i = 0; i < 2; i++)
#pragma GCC unroll 4
			for (int j = 0; j < n_r; j++)
				sum[i][j] = _mm256_add_epi32(sum[i][j],
				    _mm256_madd_epi16(acc[i][j], ones));
	}
	for (int i = 0; i < n_o; i++)
		for (int j = 0; j < n_r; j++) {
			float *to = y + (size_t)(r + j) * (size_t)y_stride + o + i;
			float v = (float)(add_up(sum[i][j]) - x->sum[r + j]) *
			    (w->scales[o + i] * x->scale[r + j]);

			*to = add ? *to + v : v;
		}
}

/*
 * The same with a factor for each group of columns.  A part, 64 columns, is two
 * bits of 64 bytes; its pairs fit 16 bits.
 */
INLINE void
tile_groups(const struct ternary *w, int o, int n_o, const struct cpu_rows *x,
    int r, const int n_r, float *y, int y_stride, bool add)
{
	const __m256i mask = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
	const int8_t *q = x->q + (size_t)r * (size_t)x->stride;
	const int32_t *parts = x->parts + r * (x->stride / 64);
	const int n_groups = (w->n_in + w->group - 1) / w->group;
	const int n_parts = (w->n_in + 63) / 64;
	const float *f[2] = { w->scales + (size_t)o * (size_t)n_groups };
	const uint8_t *codes[2];
	__m256i acc[2][4];
	float total[2][4] = { { 0 } };
	int32_t sum[4] = { 0 };

	codes[0] = w->codes + (size_t)o * (size_t)w->stride;
	codes[1] = n_o > 1 ? codes[0] + w->stride : codes[0];
	f[1] = n_o > 1 ? f[0] + n_groups : f[0];
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < n_r; j++)
			acc[i][j] = _mm256_setzero_si256();
	for (int part = 0, g = 0, left = w->group / 64; part < n_parts; part++,
	    q += 64) {
		const __m128i shift = _mm_cvtsi32_si128(part % 4 * 2);
		__m256i v[2][2];

		for (int i = 0; i < 4; i++)
			v[i / 2][i % 2] = _mm256_and_si256(mask,
			    _mm256_srl_epi16(_mm256_loadu_si256((const void *)
			        (codes[i / 2] + part / 4 * 64 + i % 2 * 32)),
			        shift));
#pragma GCC unroll 4
		for (int j = 0; j < n_r; j++) {
			const int8_t *p = q + (size_t)j * (size_t)x->stride;
			__m256i a = _mm256_loadu_si256((const void *)p);
			__m256i b = _mm256_loadu_si256((const void *)(p + 32));

			sum[j] += parts[j * (x->stride / 64) + part];
			for (int i = 0; i < 2; i++)
				acc[i][j] = _mm256_add_epi32(acc[i][j],
				    _mm256_madd_epi16(_mm256_add_epi16(
				        _mm256_maddubs_epi16(v[i][0], a),
				        _mm256_maddubs_epi16(v[i][1], b)), ones));
		}
		if (--left > 0 && part + 1 < n_parts)
			continue;
		left = w->group / 64;
		for (int j = 0; j < n_r; j++) {
			for (int i = 0; i < 2; i++) {
				total[i][j] += (float)(add_up(acc[i][j]) -
				    sum[j]) * f[i][g];
				acc[i][j] = _mm256_setzero_si256();
			}
			sum[j] = 0;
		}
		g++;
	}
	for (int i = 0; i < n_o; i++)
		for (int j = 0; j < n_r; j++) {
			float *to = y + (size_t)(r + j) * (size_t)y_stride + o + i;
			float v = total[i][j] * x->scale[r + j];

			*to = add ? *to + v : v;
		}
}

/* The kernel for n_r rows, which is a constant in it. */
INLINE void
tile_any(const struct ternary *w, int o, int n_o, const struct cpu_rows *x, int r,
    const int n_r, float *y, int y_stride, bool add)
{
	if (cpu_in_groups(w->group, w->n_in))
		tile_groups(w, o, n_o, x, r, n_r, y, y_stride, add);
	else
		tile_n(w, o, n_o, x, r, n_r, y, y_stride, add);
}

TARGET static void
ternary(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    int n_rows, float *y, int y_stride, bool add)
{
	/* Outputs in tiles whose weights stay in the first cache meanwhile. */
	for (int tile = from; tile < to; tile += OUT_TILE) {
		int end = tile + OUT_TILE < to ? tile + OUT_TILE : to, n_r;

		for (int r = 0; r < n_rows; r += n_r) {
			n_r = n_rows - r < 4 ? n_rows - r < 2 ? 1 : 2 : 4;
			for (int o = tile; o < end; o += 2) {
				int n_o = end - o < 2 ? 1 : 2;

				if (n_r == 4)
					tile_any(w, o, n_o, x, r, 4, y, y_stride, add);
				else if (n_r == 2)
					tile_any(w, o, n_o, x, r, 2, y, y_stride, add);
				else
					tile_any(w, o, n_o, x, r, 1, y, y_stride, add);
			}
		}
	}
}

/*
 * Sum of int8 weights times 16-bit activations: a pair is below 2^23, so 32
 * bits hold the pairs of 1024 weights in each of 8 lanes.
 */
TARGET static int64_t
dot_i8(const int8_t *w, const int16_t *q, int n)
{
	int64_t total = 0;
	int i = 0;

	while (i + 16 <= n) {
		__m256i acc = _mm256_setzero_si256();
		int32_t lanes[8];
		int end = n - i < 1024 ? n : i + 1024;

		for (; i + 16 <= end; i += 16)
			acc = _mm256_add_epi32(acc, _mm256_madd_epi16(
			    _mm256_cvtepi8_epi16(_mm_loadu_si128(
			        (const void *)(w + i))),
			    _mm256_loadu_si256((const void *)(q + i))));
		memcpy(lanes, &acc, sizeof(lanes));
		for (int j = 0; j < 8; j++)
			total += lanes[j];
	}
	for (; i < n; i++)
		total += w[i] * q[i];
	return total;
}

TARGET static void
head(const struct dense *w, int from, int to, const struct cpu_hidden *x,
    int n_rows, float *y, size_t y_stride)
{
	if (w->type != DENSE_I8 || cpu_in_groups(w->group, w->n_in)) {
		head_float(w, from, to, x, n_rows, y, y_stride);
		return;
	}
	for (int o = from; o < to; o++) {
		const int8_t *row = (const int8_t *)w->data +
		    (size_t)o * (size_t)w->n_in;

		for (int r = 0; r < n_rows; r++) {
			int64_t sum = dot_i8(row, x->q +
			    (size_t)r * (size_t)x->q_stride, w->n_in);

			y[(size_t)r * y_stride + (size_t)o] = (float)sum *
			    (w->scales[o] * x->scale[r]);
		}
	}
}

int
cpu_avx2_open(struct cpu_kernels *k, struct err *e)
{
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return err_set(e, ERR_NOT_FOUND, "this CPU has no AVX2");
	*k = (struct cpu_kernels){
		.isa = "avx2", .title = "avx2",
		.n_queries = ATTEND_QUERIES,
		.quantise = quantise, .ternary = ternary, .gate = gate,
		.norm_heads = norm_heads, .rope = rope, .store = store,
		.attend = attend, .norm = norm, .head = head,
	};
	return 0;
}

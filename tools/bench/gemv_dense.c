/*
 * As the 2-bit kernel for one row: tiles of four outputs, the prefetch along the
 * stream of addresses, codes masked where they stand and multiplied as they are,
 * their sums shifted back at the end.  A format is only another way to get bytes
 * with two-bit codes in them, and each way is as few instructions as were found:
 *
 * Base-3 by arithmetic.  Bytes cannot be multiplied, but 3 x is two additions, and
 * two averages, with 253 and with x, bring 3/4 x + 64 as it has to be rounded: the
 * upper two bits are the digit + 1, for all x.  (With 0 instead of 253 they are the
 * digit, but not for 85, 170 and 255.)  So codes are weights + 2 here.
 *
 * Base-3 by tables.  The first digit so, the other four as a byte of a table of
 * 256: two lookups of 128, of which bit 7 chooses.
 *
 * 3:4.  Five bytes go to each eight, a multishift cuts them into eight indices, and
 * a table gives the byte of the 2-bit format.  The index is of 6 bits, of which the
 * last belongs to the next: the table is there twice.
 */
#include "backend/cpu_avx512.h"
#include "bench/gemv_dense.h"

#undef TARGET
#define TARGET __attribute__((target( \
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx2,fma,f16c")))
#define UNROLL(i, n) _Pragma("GCC unroll 8") for (int i = 0; i < (n); i++)

enum { AHEAD = 10240, TILE = 4 };

static _Alignas(64) uint8_t base3[256];	/* 1 + digits 1..4, the lowest bits first */
static _Alignas(64) uint8_t sparse[64];
static _Alignas(64) uint8_t spread[64];	/* which byte goes where */
static _Alignas(64) uint8_t shifts[64];

bool
gemv_dense_open(void)
{
	for (int v = 0; v < 243; v++)
		base3[(256 * v + 242) / 243] = (uint8_t)(0x55 + (v / 27 % 3 |
		    v / 9 % 3 << 2 | v / 3 % 3 << 4 | v % 3 << 6));
	for (int s = 0; s < 64; s++) {
		unsigned signs = (unsigned)s >> 2 & 7, codes = 0;

		for (int n = 0; n < 4; n++)
			if (n == (s & 3)) {
				codes |= 1U << 2 * n;
			} else {
				codes |= (signs & 1) << (2 * n + 1);
				signs >>= 1;
			}
		sparse[s] = (uint8_t)codes;
	}
	for (int i = 0; i < 64; i++) {
		spread[i] = (uint8_t)(i / 8 * 5 + i % 8);
		shifts[i] = (uint8_t)(5 * (i % 8));
	}
	return __builtin_cpu_supports("avx512f") &&
	    __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512dq") &&
	    __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512vnni") &&
	    __builtin_cpu_supports("avx512vbmi");
}

INLINE void
put(const struct ternary *w, int o, const struct cpu_rows *x, const int offset,
    const __m512i *sum, float *y)
{
	__m128i s = _mm_sub_epi32(add_up4(sum[0], sum[1], sum[2], sum[3]),
	    _mm_set1_epi32(offset * x->sum[0]));

	_mm_storeu_ps(y + o, _mm_mul_ps(_mm_cvtepi32_ps(s), _mm_mul_ps(
	    _mm_loadu_ps(w->scales + o), _mm_set1_ps(x->scale[0]))));
}

/* 64 times the digit + 1. */
INLINE __m512i
first_digit(__m512i v)
{
	return _mm512_and_si512(_mm512_avg_epu8(v, _mm512_avg_epu8(v,
	    _mm512_set1_epi8((char)253))), _mm512_set1_epi8((char)0xc0));
}

TARGET void
gemv_dense_adds(const struct ternary *w, int from, int to, const struct cpu_rows *x,
    float *y)
{
	size_t stride = (size_t)w->stride;

	for (int o = from; o < to; o += TILE) {
		const uint8_t *p = w->codes + (size_t)o * stride;
		const uint8_t *next = p + AHEAD, *end = p + stride;
		const int8_t *q = x->q;
		__m512i acc[TILE][2], v[TILE];

		UNROLL(i, TILE)
			acc[i][0] = acc[i][1] = _mm512_setzero_si512();
		for (; p < end; p += 64, q += GEMV_BASE3_COLUMNS, next += 64 * TILE) {
			UNROLL(i, TILE) {
				__builtin_prefetch(next + 64 * i);
				v[i] = _mm512_loadu_si512(p + (size_t)i * stride);
			}
			UNROLL(n, 5)
				UNROLL(i, TILE) {
					acc[i][n % 2] = _mm512_dpbusd_epi32(
					    acc[i][n % 2], first_digit(v[i]),
					    _mm512_loadu_si512(q + 64 * n));
					if (n < 4)
						v[i] = _mm512_add_epi8(v[i],
						    _mm512_add_epi8(v[i], v[i]));
				}
		}
		UNROLL(i, TILE)
			v[i] = _mm512_srai_epi32(_mm512_add_epi32(acc[i][0],
			    acc[i][1]), 6);
		put(w, o, x, 2, v, y);
	}
}

/* Four codes of each byte of c, times the activations at q. */
INLINE void
four_codes(__m512i *acc, __m512i c, const int8_t *q)
{
	UNROLL(n, 4)
		acc[n] = _mm512_dpbusd_epi32(acc[n], _mm512_and_si512(c,
		    _mm512_set1_epi8((char)(3 << 2 * n))),
		    _mm512_loadu_si512(q + 64 * n));
}

INLINE __m512i
shifted_back(const __m512i *acc)
{
	return _mm512_add_epi32(_mm512_add_epi32(acc[0],
	    _mm512_srai_epi32(acc[1], 2)), _mm512_add_epi32(
	    _mm512_srai_epi32(acc[2], 4), _mm512_srai_epi32(acc[3], 6)));
}

TARGET void
gemv_dense_tables(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, float *y)
{
	const __m512i a = _mm512_load_si512(base3), b = _mm512_load_si512(base3 + 64);
	const __m512i c = _mm512_load_si512(base3 + 128);
	const __m512i d = _mm512_load_si512(base3 + 192);
	size_t stride = (size_t)w->stride;

	for (int o = from; o < to; o += TILE) {
		const uint8_t *p = w->codes + (size_t)o * stride;
		const uint8_t *next = p + AHEAD, *end = p + stride;
		const int8_t *q = x->q;
		__m512i acc[TILE][4], sum[TILE];

		UNROLL(i, TILE)
			UNROLL(n, 4)
				acc[i][n] = _mm512_setzero_si512();
		for (; p < end; p += 64, q += GEMV_BASE3_COLUMNS, next += 64 * TILE)
			UNROLL(i, TILE) {
				__m512i v = _mm512_loadu_si512(p + (size_t)i * stride);
				__m512i low = _mm512_permutex2var_epi8(a, v, b);
				__m512i high = _mm512_permutex2var_epi8(c, v, d);

				__builtin_prefetch(next + 64 * i);
				four_codes(acc[i], _mm512_mask_blend_epi8(
				    _mm512_movepi8_mask(v), low, high), q + 64);
				acc[i][3] = _mm512_dpbusd_epi32(acc[i][3],
				    first_digit(v), _mm512_loadu_si512(q));
			}
		UNROLL(i, TILE)
			sum[i] = shifted_back(acc[i]);
		put(w, o, x, 2, sum, y);
	}
}

TARGET void
gemv_dense_sparse(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, float *y)
{
	const __m512i codes = _mm512_load_si512(sparse);
	const __m512i to8 = _mm512_load_si512(spread);
	const __m512i by5 = _mm512_load_si512(shifts);
	size_t stride = (size_t)w->stride;

	for (int o = from; o < to; o += TILE) {
		const uint8_t *p = w->codes + (size_t)o * stride;
		const uint8_t *next = p + AHEAD, *end = p + stride;
		const int8_t *q = x->q;
		__m512i acc[TILE][4], sum[TILE];

		UNROLL(i, TILE)
			UNROLL(n, 4)
				acc[i][n] = _mm512_setzero_si512();
		for (; p < end; p += GEMV_SPARSE_BYTES, q += GEMV_SPARSE_COLUMNS) {
			UNROLL(i, TILE) {
				__m512i v = _mm512_permutexvar_epi8(to8,
				    _mm512_loadu_si512(p + (size_t)i * stride));

				/* Three lines hold the 160 bytes of a turn. */
				if (i < 3)
					__builtin_prefetch(next + 64 * i);
				v = _mm512_multishift_epi64_epi8(by5, v);
				four_codes(acc[i], _mm512_permutexvar_epi8(v,
				    codes), q);
			}
			next += TILE * GEMV_SPARSE_BYTES;
		}
		UNROLL(i, TILE)
			sum[i] = shifted_back(acc[i]);
		put(w, o, x, 1, sum, y);
	}
}

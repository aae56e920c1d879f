/*
 * Ternary products of NEON: sdot, 16 products by fours.  It is signed on both
 * sides, so codes are shifted down rather than masked where they stand: 2 << 6
 * is no signed byte.
 */
#include "backend/cpu_neon.h"

enum {
	VI_LANES = 4, RUN_BLOCKS = 1 << 20,
	TILE_ROWS = 4, DIRECT_ROWS = 16, TURN_ROWS = 8,
};
#define MASKED 0

typedef int32x4_t vi;
typedef float32x4_t vs;
typedef int32_t i4 __attribute__((vector_size(16)));

VF vi vi_zero(void) { return vdupq_n_s32(0); }
VF vi vi_set1(int32_t x) { return vdupq_n_s32(x); }
VF vi vi_load(const void *p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
VF vi vi_sub(vi a, vi b) { return vsubq_s32(a, b); }
VF vi vi_open(vi sum) { return sum; }
VF vi vi_or(vi a, vi b) { return vorrq_s32(a, b); }
VF vi vi_and(vi a, vi b) { return vandq_s32(a, b); }
VF void vi_store(void *p, vi v) { vst1q_u8(p, vreinterpretq_u8_s32(v)); }
VF vs vs_zero(void) { return vdupq_n_f32(0); }
VF vs vs_set1(float x) { return vdupq_n_f32(x); }
VF vs vs_of(vi v) { return vcvtq_f32_s32(v); }
VF vs vs_add(vs a, vs b) { return vaddq_f32(a, b); }
VF vs vs_mul(vs a, vs b) { return vmulq_f32(a, b); }
VF vs vs_load(const float *p) { return vld1q_f32(p); }

VF vs
vs_load_n(const float *p, int n)
{
	float lanes[VI_LANES] = { 0 };

	memcpy(lanes, p, (size_t)n * sizeof(*p));
	return vld1q_f32(lanes);
}

VF void
vs_store_n(float *p, vs v, int n)
{
	float lanes[VI_LANES];

	vst1q_f32(lanes, v);
	memcpy(p, lanes, (size_t)n * sizeof(*p));
}

VF vi
vi_dot(vi acc, vi c, vi x)
{
	return vdotq_s32(acc, vreinterpretq_s8_s32(c), vreinterpretq_s8_s32(x));
}

VF vi
vi_close(vi sum, vi acc)
{
	(void)sum;
	return acc;
}

VF vi
vi_codes(vi v, const int part)
{
	uint8x16_t c = vreinterpretq_u8_s32(v);

	c = vshlq_u8(c, vdupq_n_s8((int8_t)(-2 * part)));
	return vreinterpretq_s32_u8(vandq_u8(c, vdupq_n_u8(3)));
}

/* For layout B3. */
#define BYTES(v) vreinterpretq_u8_s32(v)
#define WORDS(v) vreinterpretq_s32_u8(v)
VF vi vi_bytes(int x) { return WORDS(vdupq_n_u8((uint8_t)x)); }
VF vi vi_add8(vi a, vi b) { return WORDS(vaddq_u8(BYTES(a), BYTES(b))); }
VF vi vi_average(vi a, vi b) { return WORDS(vrhaddq_u8(BYTES(a), BYTES(b))); }
VF vi
vi_down(vi v, const int n)
{
	return WORDS(vshlq_u8(BYTES(v), vdupq_n_s8((int8_t)-n)));
}

VF vi
vi_word(const int8_t *p)
{
	int32_t word;

	memcpy(&word, p, sizeof(word));
	return vdupq_n_s32(word);
}

VF i4
vi_sums(const vi *v)
{
	return (i4)vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

/* Pairs of rows, then pairs of those. */
VF void
vi_turn(const uint8_t *const *rows, uint8_t *to, size_t step)
{
	vi r[4], even[2], odd[2];

	for (int i = 0; i < 4; i++)
		r[i] = vi_load(rows[i]);
	for (int i = 0; i < 2; i++) {
		even[i] = vtrn1q_s32(r[2 * i], r[2 * i + 1]);
		odd[i] = vtrn2q_s32(r[2 * i], r[2 * i + 1]);
	}
#define PUT(k, half, pair) vst1q_s64((void *)(to + (k) * step), half(          \
    vreinterpretq_s64_s32(pair[0]), vreinterpretq_s64_s32(pair[1])))
	PUT(0, vtrn1q_s64, even);
	PUT(1, vtrn1q_s64, odd);
	PUT(2, vtrn2q_s64, even);
	PUT(3, vtrn2q_s64, odd);
#undef PUT
}

#include "backend/cpu_base3.h"
#include "backend/cpu_ternary.h"

void
cpu_neon_ternary(const struct ternary *w, int from, int to,
    const struct cpu_rows *x, int n_rows, float *y, int y_stride, bool add)
{
	products(w, from, to, x, n_rows, y, y_stride, add);
}

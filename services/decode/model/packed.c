#include <float.h>
#include <math.h>
#include <string.h>

#include "model/packed.h"

/*
 * The largest value need not be representable: with all values closer together,
 * most of them gain more than the few beyond the end lose.  How much closer is
 * found by trying; then the factor is the one that suits these codes best.
 */
enum { TRIES = 16 };

int
packed_code(enum dense_type type, const uint8_t *row, int32_t i)
{
	int32_t in = i % 256;
	int four;

	if (type == DENSE_Q4)
		return row[i / 128 * 64 + i % 64] >> i % 128 / 64 * 4 & 15;
	row += i / 256 * 192;
	four = row[in / 128 * 64 + in % 64] >> in % 128 / 64 * 4 & 15;
	return four << 2 | (row[128 + in % 64] >> in / 64 * 2 & 3);
}

/* All codes were 0 before. */
static void
put(enum dense_type type, uint8_t *row, int32_t i, int code)
{
	int32_t in = i % 256;
	uint8_t *p = row + i / 128 * 64 + i % 64;
	int four = code;

	if (type == DENSE_Q6) {
		row += i / 256 * 192;
		p = row + in / 128 * 64 + in % 64;
		row[128 + in % 64] |= (uint8_t)((code & 3) << in / 64 * 2);
		four = code >> 2;
	}
	*p |= (uint8_t)(four << i % 128 / 64 * 4);
}

/* A step of 2 is rounded to, and what is beyond the ends is cut. */
static int
code_of(float value, float per_step, int top)
{
	float code = value * per_step + 0.5F * (float)(top + 1);

	return !(code > 0) ? 0 : code > (float)top ? top : (int)code;
}

/* Squared error with this factor, and what it takes to choose a better one. */
static double
error_of(const float *values, int32_t n, float scale, int top, float *better)
{
	float per_step = 0.5F / scale;
	double error = 0, with = 0, own = 0;

	for (int32_t i = 0; i < n; i++) {
		double level = 2 * code_of(values[i], per_step, top) - top;
		double off = (double)values[i] - (double)scale * level;

		error += off * off;
		with += (double)values[i] * level;
		own += level * level;
	}
	*better = (float)(with / own);
	return error;
}

float
packed_make(enum dense_type type, const float *values, int32_t n, uint8_t *out)
{
	int top = (1 << packed_bits(type)) - 1;
	float max = 0, scale = 0, better, step;
	double best = INFINITY;

	memset(out, 0, (size_t)packed_stride(type, n));
	for (int32_t i = 0; i < n; i++)
		max = fmaxf(max, fabsf(values[i]));
	if (max < 256 * FLT_MIN)	/* a step of them is no normal number */
		return 0;
	step = type == DENSE_Q6 ? 0.015F : 0.03F;
	for (int k = 0; k < TRIES; k++) {
		float s = max / (float)top * (1 - step * (float)k);
		double error = error_of(values, n, s, top, &better);

		if (error < best) {
			best = error;
			scale = s;
		}
	}
	best = error_of(values, n, scale, top, &better);
	better = fminf(better, max / (float)top);
	if (error_of(values, n, better, top, &step) < best)
		scale = better;
	for (int32_t i = 0; i < n; i++)
		put(type, out, i, code_of(values[i], 0.5F / scale, top));
	return scale;
}

void
packed_row(enum dense_type type, const uint8_t *row, float scale, int32_t n,
    float *out)
{
	int top = (1 << packed_bits(type)) - 1;

	for (int32_t i = 0; i < n; i++)
		out[i] = scale * (float)(2 * packed_code(type, row, i) - top);
}

bool
packed_check_tail(enum dense_type type, const uint8_t *row, int32_t n_in)
{
	int32_t block = type == DENSE_Q6 ? 256 : 128;

	for (int32_t i = n_in; i % block != 0; i++)
		if (packed_code(type, row, i) != 0)
			return false;
	return true;
}

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#include "model/model.h"
#include "model/ternarize.h"

/*
 * A row becomes one magnitude for each 64 columns; a way to cut the row holds
 * if no piece of it has two.  Almost all rows have one magnitude throughout, or
 * leave the cut that is the answer, so this costs little more than reading.
 */
_Static_assert(TERNARIZE_CELLS_MAX * TERNARIZE_CELL == MODEL_FFN_MAX &&
    MODEL_FFN_MAX >= MODEL_HIDDEN_MAX, "cells for the longest row");

void
ternarize_init(struct ternarize *t, int32_t n_in)
{
	assert(n_in >= 1 && n_in <= MODEL_FFN_MAX);
	*t = (struct ternarize){ .n_in = n_in, .n = 1, .groups = { n_in } };
	for (int32_t g = n_in - 1; g >= TERNARIZE_CELL; g--) {
		/* Three places are kept for those that always go. */
		bool equal = n_in % g == 0 && g % TERNARIZE_CELL == 0 &&
		    t->n < TERNARIZE_GROUPS_MAX - 3;

		if (equal || g == 4 * TERNARIZE_CELL ||
		    g == 2 * TERNARIZE_CELL || g == TERNARIZE_CELL)
			t->groups[t->n++] = g;
	}
}

/* The magnitude of w [n] that is not 0, or 0; *n_others of another one. */
static float
magnitude(const float *w, int32_t n, int32_t *n_others)
{
	float top = 0;
	int32_t others = 0;

	for (int32_t i = 0; i < n; i++)
		top = fabsf(w[i]) > top ? fabsf(w[i]) : top;
	/* A NaN is neither. */
	for (int32_t i = 0; i < n; i++)
		others += (w[i] != 0) & (fabsf(w[i]) != top);
	*n_others = others;
	return top;
}

static int
refuse(const char *name, int32_t row, int32_t col, const float *w, int32_t n,
    struct err *e)
{
	float seen[TERNARIZE_CELL];
	int n_seen = 0;

	for (int32_t i = 0; i < n; i++) {
		float v = fabsf(w[i]);
		int k = 0;

		if (!isfinite(v))
			return err_set(e, ERR_BAD_FILE, "tensor '%.80s', row %d, "
			    "column %d: %g", name, row, col + i, (double)w[i]);
		while (k < n_seen && seen[k] != v)
			k++;
		if (v != 0 && k == n_seen)
			seen[n_seen++] = v;
	}
	return err_set(e, ERR_UNSUPPORTED, "%.70s row %d columns %d..%d holds %d "
	    "magnitudes: not ternary; floats are accepted if each is -s, 0 or "
	    "+s, or as the master of a BitNet (quantization_mode online)", name,
	    row, col, col + n - 1, n_seen);
}

/* Do cells [n], `group` of them at a time, have one magnitude? */
static bool
explains(const float *cells, int32_t n, int32_t group)
{
	for (int32_t at = 0; at < n; at += group) {
		int32_t end = n - at > group ? at + group : n;
		float one = 0;

		for (int32_t i = at; i < end; i++) {
			if (one != 0 && cells[i] != 0 && cells[i] != one)
				return false;
			one = cells[i] != 0 ? cells[i] : one;
		}
	}
	return true;
}

/*
 * As explains, for a row whose n_in may end within a cell: then the only group
 * that is no multiple of 64 is the row itself.
 */
static void
narrow(struct ternarize *t, int32_t n)
{
	int32_t kept = 0;

	for (int32_t i = 0; i < t->n; i++) {
		int32_t group = t->groups[i] == t->n_in ? n :
		    t->groups[i] / TERNARIZE_CELL;

		if (explains(t->cells, n, group))
			t->groups[kept++] = t->groups[i];
	}
	/* A row of at most 64 columns has one cell, which the row explains. */
	assert(kept > 0);
	t->n = kept;
}

int
ternarize_look(struct ternarize *t, const char *name, int32_t row,
    const float *w, struct err *e)
{
	int32_t n_cells = 0;
	float one = 0;
	bool same = true;

	for (int32_t at = 0; at < t->n_in; at += TERNARIZE_CELL) {
		int32_t n = t->n_in - at < TERNARIZE_CELL ? t->n_in - at :
		    TERNARIZE_CELL, n_others;
		float m = magnitude(w + at, n, &n_others);

		if (n_others > 0 || !isfinite(m))
			return refuse(name, row, at, w + at, n, e);
		same = same && (one == 0 || m == 0 || m == one);
		one = m != 0 ? m : one;
		t->cells[n_cells++] = m;
	}
	if (!same)
		narrow(t, n_cells);
	return 0;
}

int32_t
ternarize_group(const struct ternarize *t)
{
	return t->groups[0];
}

void
ternarize_split(const float *w, int32_t n_in, int32_t group, uint8_t *codes,
    float *scales)
{
	for (int32_t at = 0; at < n_in; at += group) {
		int32_t end = n_in - at > group ? at + group : n_in;
		float scale = 0;

		for (int32_t i = at; i < end; i++) {
			codes[i] = (uint8_t)(1 + (w[i] > 0) - (w[i] < 0));
			scale = fabsf(w[i]) > scale ? fabsf(w[i]) : scale;
		}
		*scales++ = scale;
	}
}

double
ternarize_sum(const float *w, int32_t n)
{
	double sum = 0;

	for (int32_t i = 0; i < n; i++)
		sum += (double)fabsf(w[i]);
	return sum;
}

float
ternarize_mean(double sum, uint64_t n)
{
	return fmaxf((float)(sum / (double)n), 1e-5f);
}

void
ternarize_round(const float *w, int32_t n, float mean, uint8_t *codes)
{
	float s = 1.0f / mean;

	for (int32_t i = 0; i < n; i++) {
		float v = rintf(w[i] * s);

		codes[i] = (uint8_t)(v >= 1 ? 2 : v <= -1 ? 0 : 1);
	}
}

/*
 * The products of a head of integers on random shapes: whatever the instruction
 * set, the rows that are multiplied together and the range of outputs, a product has
 * the very same bits, those of its definition in whole numbers.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_variants.h"
#include "random_model.h"
#include "slow.h"

enum { SHAPES = SLOW ? 3 : 24, ROWS = 19, SMALL = 9, OUTS = 150 };

static const enum dense_type types[] = { DENSE_I8, DENSE_Q6, DENSE_Q4 };
enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

/* One head of each case, and the hidden states in the two forms there are. */
struct shape {
	int n_in, n_out;
	struct dense w;
	struct cpu_hidden x;	/* of 16 bits */
	int16_t *planes;	/* the same as two of 8 */
	float *want;		/* [ROWS, n_out] */
	float *y;
};

/* Integers of every size; round 0 and 1: what overflows first. */
static int
hidden_value(int round)
{
	return round == 0 ? -32512 : round == 1 ? 32512 :
	    random_below(2 * 32512 + 1) - 32512;
}

static void
begin_hidden(struct shape *s, int round)
{
	int q = (s->n_in + 255) / 256 * 256, f = (s->n_in + 15) / 16 * 16;

	s->x = (struct cpu_hidden){ .f_stride = f, .q_stride = q,
		.f = random_take((size_t)(ROWS * f) * sizeof(float)),
		.q = random_take((size_t)(ROWS * q) * 2),
		.scale = random_floats(ROWS, 0.5F, 0.01F),
		.sum = random_take(ROWS * sizeof(int64_t)) };
	s->planes = random_take((size_t)(ROWS * q) * 2);
	for (int r = 0; r < ROWS; r++)
		for (int i = 0; i < s->n_in; i++) {
			int v = hidden_value(round);
			int8_t *p = (int8_t *)(s->planes + r * q);

			s->x.q[r * q + i] = (int16_t)v;
			s->x.sum[r] += v;
			p[i] = (int8_t)((v + 128) >> 8);
			p[q + i] = (int8_t)(v - 256 * p[i]);
		}
}

static int
whole_weight(const struct dense *w, int o, int i)
{
	const uint8_t *row = w->data;
	int bits = packed_bits(w->type);

	if (bits == 0)
		return ((const int8_t *)w->data)[(size_t)o * (size_t)w->n_in +
		    (size_t)i];
	row += (size_t)o * (size_t)packed_stride(w->type, w->n_in);
	return 2 * packed_code(w->type, row, i) - ((1 << bits) - 1);
}

static void
begin(struct shape *s, enum dense_type type, int n_in, int round)
{
	*s = (struct shape){ .n_in = n_in, .n_out = 1 + random_below(OUTS) };
	random_dense(&s->w, type, s->n_out, n_in, 0);
	begin_hidden(s, round);
	s->want = random_take((size_t)(ROWS * s->n_out) * sizeof(float));
	s->y = random_take((size_t)(ROWS * s->n_out) * sizeof(float));
	for (int o = 0; o < s->n_out; o++)
		for (int r = 0; r < ROWS; r++) {
			int64_t sum = 0;

			for (int i = 0; i < n_in; i++)
				sum += whole_weight(&s->w, o, i) *
				    s->x.q[r * s->x.q_stride + i];
			s->want[r * s->n_out + o] = (float)sum *
			    (s->w.scales[o] * s->x.scale[r]);
		}
	if (strcmp(k.isa, "avx512") == 0 || strcmp(k.isa, "neon") == 0)
		memcpy(s->x.q, s->planes, (size_t)(ROWS * s->x.q_stride) * 2);
}

static void
end(struct shape *s)
{
	free((void *)(uintptr_t)s->w.data);
	free((void *)(uintptr_t)s->w.scales);
	free(s->x.f);
	free(s->x.q);
	free(s->x.scale);
	free(s->x.sum);
	free(s->planes);
	free(s->want);
	free(s->y);
}

/* Outputs from..to of n_rows rows are right, and nothing else is written. */
static void
check_range(struct shape *s, int from, int to, int n_rows)
{
	for (int i = 0; i < ROWS * s->n_out; i++)
		s->y[i] = 0.25F;
	k.head(&s->w, from, to, &s->x, n_rows, s->y, (size_t)s->n_out);
	for (int r = 0; r < ROWS; r++)
		for (int o = 0; o < s->n_out; o++) {
			float want = 0.25F, y = s->y[r * s->n_out + o];

			if (r < n_rows && o >= from && o < to)
				want = s->want[r * s->n_out + o];
			ck_assert_msg(memcmp(&y, &want, sizeof(y)) == 0,
			    "%s, type %d, %d x %d, %d..%d of %d rows: [%d, %d] "
			    "is %g, not %g", k.isa, (int)s->w.type, s->n_out,
			    s->n_in, from, to, n_rows, r, o, (double)y,
			    (double)want);
		}
}

static void
check_shape(enum dense_type type, int n_in, int round)
{
	struct shape s;

	begin(&s, type, n_in, round);
	for (int n_rows = 1; n_rows <= SMALL; n_rows++)
		check_range(&s, 0, s.n_out, n_rows);
	check_range(&s, 0, s.n_out, ROWS);
	for (int i = 0; i < 4; i++) {
		int from = random_below(s.n_out);

		check_range(&s, from, from + 1 + random_below(s.n_out - from),
		    1 + random_below(ROWS));
	}
	end(&s);
}

START_TEST(heads_of_integers_have_the_same_bits_however_they_are_cut)
{
	if (!open_one(_i))
		return;
	for (int t = 0; t < N_TYPES; t++) {
		for (int i = 0; i < N_SIZES; i += SLOW ? 3 : 1)
			check_shape(types[t], sizes[i], i % 3);
		for (int i = 0; i < SHAPES; i++)
			check_shape(types[t], 1 + random_below(2000), 2);
	}
}
END_TEST

/* A head of ones, as large as they come: 32-bit sums in the wrong place wrap. */
START_TEST(the_largest_sums_do_not_overflow)
{
	static const int widths[] = { 8192, 65536 };

	if (!open_one(_i))
		return;
	for (int c = 0; c < 2 * N_TYPES * 2; c++) {
		enum dense_type type = types[c / 4];
		int n = widths[c % 2], value = c / 2 % 2 == 0 ? 32512 : -32512;
		int32_t weight = type == DENSE_I8 ? 127 :
		    type == DENSE_Q6 ? 63 : 15;
		size_t bytes = type == DENSE_I8 ? (size_t)n :
		    (size_t)packed_stride(type, n);
		uint8_t *data = random_take(bytes);
		struct cpu_hidden x = { .f_stride = n, .q_stride = n,
			.f = random_take((size_t)n * 4),
			.q = random_take((size_t)n * 2),
			.scale = random_floats(1, 1, 0),
			.sum = random_take(8) };
		struct dense w = { .type = type, .data = data, .n_out = 1,
			.n_in = n, .group = n, .scales = x.scale };
		float y, want = (float)((int64_t)n * weight * value);
		float *ones = random_floats(n, 1, 0);
		float *in = random_floats(n, value > 0 ? 1 : -1, 0);

		memset(data, type == DENSE_I8 ? 127 : 255, bytes);
		x.scale[0] = 1;
		for (int i = 0; i < n; i++)
			ones[i] = 1, in[i] = value > 0 ? 1 : -1;
		k.norm(in, ones, n, 0, &x, 0);
		ck_assert_int_eq(x.sum[0], (int64_t)n * value);
		x.scale[0] = 1;
		k.head(&w, 0, 1, &x, 1, &y, 1);
		ck_assert_msg(memcmp(&y, &want, sizeof(y)) == 0,
		    "%s, type %d, %d columns of %d: %g, not %g", k.isa,
		    (int)type, n, value, (double)y, (double)want);
		free(data);
		free(x.f);
		free(x.q);
		free(x.scale);
		free(x.sum);
		free(ones);
		free(in);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("head_kernels");
	TCase *t = tcase_create("head_kernels");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t,
	    heads_of_integers_have_the_same_bits_however_they_are_cut, 0, N_ISAS);
	tcase_add_loop_test(t, the_largest_sums_do_not_overflow, 0, N_ISAS);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * A pass in one launch (kernels/whole.hip) against a launch for each step: the same bits,
 * for one row and several, in the first tile of attention and past it.
 */
#include <stdio.h>
#include <string.h>

#include "backend/gpu.h"
#include "gpu_world.h"
#include "random_model.h"

enum { SEQUENCES = 8, CONTEXT = 160, PAGES = CONTEXT / KV_PAGE, STEPS = 2 };

/* Tokens that each sequence has before: a tile of attention is 128. */
static const int before[SEQUENCES] = { 129, 0, 127, 3, 1, 2, 0, 5 };

static const struct random_shape shapes[] = {
	{ "GQA 2:1, sub-norms, relu2, tied i8", 101, 256, 2, 4, 2, 64, 512,
	    MODEL_RELU2, false, true, true, .type = DENSE_I8 },
	{ "GQA 5:1, interleaved, relu2, f32", 64, 200, 3, 5, 1, 40, 1000,
	    MODEL_RELU2, true, true, false, .type = DENSE_F32 },
	{ "norms of q and k, GQA 4:1, head_dim 128, silu", 40, 256, 2, 4, 1, 128, 260,
	    MODEL_SILU, false, false, true, .type = DENSE_I8, .qk_norm = true },
};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static int32_t *
pages_of(int sequence)
{
	static int32_t pages[SEQUENCES][PAGES];

	for (int i = 0; i < PAGES; i++)
		pages[sequence][i] = (sequence * PAGES + i) * 7 % (SEQUENCES * PAGES);
	return pages[sequence];
}

static struct backend_row
row_at(int sequence, int pos, int vocab)
{
	return (struct backend_row){ .token = (pos * 7 + sequence * 31 + 5) % vocab,
		.pos = pos, .pages = pages_of(sequence) };
}

static void
open_with(const struct model *m, const char *step, struct backend *b)
{
	struct backend_options o = { .name = "gpu", .n_pages = SEQUENCES * PAGES,
		.max_rows = 64, .n_ctx = CONTEXT, .gpu_step = step };
	struct err e;

	ck_assert_msg(backend_open(m, &o, b, &e) == 0, "%s", e.text);
}

static void
fill(struct backend *b, int vocab)
{
	struct backend_row rows[64];
	struct err e;

	for (int s = 0; s < SEQUENCES; s++)
		for (int at = 0; at < before[s]; at += 64) {
			int n = before[s] - at < 64 ? before[s] - at : 64;

			for (int i = 0; i < n; i++)
				rows[i] = row_at(s, at + i, vocab);
			ck_assert_int_eq(b->forward(b, rows, n, NULL, &e), 0);
		}
}

/* One pass of n sequences on both; pos: where they are. */
static void
step_both(struct backend *one, struct backend *many, int n, int *pos, int vocab,
    const char *what)
{
	static float a[SEQUENCES * 128], b[SEQUENCES * 128];
	struct backend_row rows[SEQUENCES];
	struct err e;

	for (int s = 0; s < n; s++) {
		rows[s] = row_at(s, pos[s]++, vocab);
		rows[s].want_logits = true;
	}
	ck_assert_msg(one->forward(one, rows, n, a, &e) == 0, "%s", e.text);
	ck_assert_msg(many->forward(many, rows, n, b, &e) == 0, "%s", e.text);
	for (int i = 0; i < n * vocab; i++)
		ck_assert_msg(memcmp(a + i, b + i, sizeof(a[0])) == 0, "%s, %d rows, row "
		    "%d, logit %d: %g, not %g", what, n, i / vocab, i % vocab,
		    (double)a[i], (double)b[i]);
}

static bool
is_whole(const struct backend *b)
{
	return strstr(b->name, "one launch a pass") != NULL;
}

START_TEST(one_launch_gives_the_same_bits_as_many)
{
	static const int sizes[] = { 1, SEQUENCES };
	const struct random_shape *shape = &shapes[_i];
	struct backend one, many;
	static struct model m;
	int pos[SEQUENCES];

	random_model(shape, &m);
	open_with(&m, "whole", &one);
	open_with(&m, "launches", &many);
	ck_assert(is_whole(&one) && !is_whole(&many));
	fill(&one, shape->vocab);
	fill(&many, shape->vocab);
	memcpy(pos, before, sizeof(pos));
	for (int i = 0; i < 2; i++)
		for (int k = 0; k < STEPS; k++)
			step_both(&one, &many, sizes[i], pos, shape->vocab, shape->what);
	one.close(&one);
	many.close(&many);
}
END_TEST

/* Factors for groups of columns are not for it: launches then, and no refusal. */
START_TEST(a_model_that_cannot_have_it_gets_launches)
{
	static const struct random_shape grouped = { "groups of 64", 70, 320, 2, 2, 1, 64,
		600, MODEL_SILU, true, false, false, .type = DENSE_F16, .group = 64,
		.ffn_group = 64 };
	static struct model m;
	struct backend b;

	random_model(&grouped, &m);
	open_with(&m, "whole", &b);
	ck_assert(!is_whole(&b));
	/* Nor is memory taken for it. */
	ck_assert_uint_eq(gpu_whole_bytes(b.state), 0);
	b.close(&b);
}
END_TEST

/* What rows may ask for, and what is in the cache then. */
struct asked {
	float logits[2][2 * 128], hidden[256];
	struct backend_top top[5];
	char page[1 << 16];
};

START_TEST(by_itself_it_is_taken_where_it_was_measured_to_be_the_better)
{
	bool sm90 = strncmp(getenv("GPU_TARGET"), "gfx", 3) != 0;
	static const char *const steps[] = { "auto", NULL };
	static struct model m;
	struct backend b;

	random_model(&shapes[0], &m);
	for (int i = 0; i < 2; i++) {
		open_with(&m, steps[i], &b);
		ck_assert_int_eq(is_whole(&b), sm90);
		b.close(&b);
	}
}
END_TEST

/* What three rows of different sequences ask for, then two of the same one. */
static void
ask(struct backend *b, int vocab, struct asked *a)
{
	struct backend_row rows[] = { row_at(0, before[0], vocab), row_at(1, 0, vocab),
		row_at(2, before[2], vocab) };
	struct backend_row same[] = { row_at(3, before[3], vocab), row_at(3, before[3] + 1,
	    vocab), row_at(1, 1, vocab) };
	struct err e;

	fill(b, vocab);
	rows[0].want_logits = true;
	rows[1].n_top = 5;
	rows[1].top = a->top;
	rows[2].hidden = a->hidden;
	ck_assert_int_eq(b->forward(b, rows, 3, a->logits[0], &e), 0);
	same[1].want_logits = same[2].want_logits = true;
	ck_assert_int_eq(b->forward(b, same, 3, a->logits[1], &e), 0);
	ck_assert_uint_le(b->page_bytes, sizeof(a->page));
	ck_assert_int_eq(b->read_page(b, pages_of(2)[3], KV_PAGE, a->page, &e), 0);
}

START_TEST(rows_get_what_they_ask_for_in_one_launch)
{
	static struct asked a, b;
	static struct model m;
	struct backend one, many;

	random_model(&shapes[0], &m);
	open_with(&m, "whole", &one);
	open_with(&m, "launches", &many);
	ask(&one, shapes[0].vocab, &a);
	ask(&many, shapes[0].vocab, &b);
	ck_assert_mem_eq(a.logits, b.logits, sizeof(a.logits));
	ck_assert_mem_eq(a.top, b.top, sizeof(a.top));
	ck_assert_mem_eq(a.hidden, b.hidden, sizeof(a.hidden));
	ck_assert_mem_eq(a.page, b.page, sizeof(a.page));
	ck_assert(a.hidden[0] != 0 && a.top[4].logit != 0);
	one.close(&one);
	many.close(&many);
}
END_TEST

/* After some 10^8 passes the numbers of passes begin again, and packets of the first ones
 * may still lie there. */
START_TEST(numbers_of_passes_begin_again)
{
	/* A second layer would write over what the first has left. */
	static const struct random_shape one_layer = { "one layer", 64, 200, 1, 5, 1, 40, 400,
		MODEL_RELU2, false, true, false, .type = DENSE_I8 };
	const struct random_shape *shape = &one_layer;
	struct backend one, many;
	static struct model m;
	int pos[SEQUENCES];
	struct gpu *g;

	random_model(shape, &m);
	open_with(&m, "whole", &one);
	open_with(&m, "launches", &many);
	g = one.state;
	memset(pos, 0, sizeof(pos));
	step_both(&one, &many, SEQUENCES, pos, shape->vocab, "the first pass");
	ck_assert_uint_eq(g->whole.n_passes, 1);
	g->whole.n_passes = UINT32_MAX / (uint32_t)(m.config.n_layers + 1) - 2;
	step_both(&one, &many, 1, pos, shape->vocab, "the last number");
	step_both(&one, &many, SEQUENCES, pos, shape->vocab, "the first number again");
	ck_assert_uint_eq(g->whole.n_passes, 1);
	one.close(&one);
	many.close(&many);
}
END_TEST

static int
run_tests(void)
{
	TCase *t = tcase_create("whole");

	tcase_add_loop_test(t, one_launch_gives_the_same_bits_as_many, 0,
	    gpu_world_first() ? N_SHAPES : 1);
	tcase_add_test(t, by_itself_it_is_taken_where_it_was_measured_to_be_the_better);
	tcase_add_test(t, rows_get_what_they_ask_for_in_one_launch);
	tcase_add_test(t, numbers_of_passes_begin_again);
	if (gpu_world_first())
		tcase_add_test(t, a_model_that_cannot_have_it_gets_launches);
	return gpu_world_run(t, "gpu_whole");
}

int
main(int argc, char **argv)
{
	(void)argc;
	return gpu_world_main(argv[0], run_tests);
}

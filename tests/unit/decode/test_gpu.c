/* The GPU backend's logits, and what it says when something fails. */
#include "backend_world.h"
#include "gpu_world.h"
#include "random_model.h"

/* Past a page (32), past a GEMV (8 rows), and a short one; test_gpu_attention.c goes past
 * tiles. */
static void
shorten(void)
{
	lengths[0] = 40;
	lengths[1] = 9;
	lengths[2] = 3;
}

static void
open_named(const struct model *m, const char *name, struct backend *b)
{
	struct backend_options o = { .name = name, .n_threads = 2, .n_pages = N_PAGES,
		.max_rows = 256, .n_ctx = 128 };
	struct err e;

	ck_assert_msg(backend_open(m, &o, b, &e) == 0, "%s", e.text);
}

START_TEST(logits_are_the_oracles_within_rounding)
{
	static const struct plan plan = { .chunk = 32, .together = true };
	struct backend b;
	static struct model m;
	double d;

	random_model(&random_shapes[_i], &m);
	open_named(&m, "ref", &b);
	run(&b, &plan, m.config.vocab, want);
	b.close(&b);
	open_named(&m, "gpu", &b);
	run(&b, &plan, m.config.vocab, got);
	b.close(&b);
	d = distance(m.config.vocab);
	printf("%s, %s: distance %.2e\n", getenv("GPU_TARGET"), random_shapes[_i].what, d);
	ck_assert_msg(d < 0.03, "%s: %g", random_shapes[_i].what, d);
}
END_TEST

/* Coroutines take their time: shapes that go all ways through the kernels. */
static const int shapes_cut[] = { 0, 6, 8, 11 };

START_TEST(logits_do_not_depend_on_company_cuts_or_pages)
{
	static const struct plan base = { .chunk = N_MAX };
	static struct model m;
	struct backend b;

	random_model(&random_shapes[shapes_cut[_i]], &m);
	open_named(&m, "gpu", &b);
	run(&b, &base, m.config.vocab, want);
	for (int i = 0; i < (int)(sizeof(chunks) / sizeof(chunks[0])); i++) {
		struct plan p = { .chunk = chunks[i], .together = i % 2 == 0,
			.permuted = i / 2 & 1, .last_only = (i + 1) / 2 & 1 };

		run(&b, &p, m.config.vocab, got);
		compare(&p, m.config.vocab, getenv("GPU_TARGET"), 1);
	}
	b.close(&b);
}
END_TEST

START_TEST(a_model_in_b3_has_the_same_logits)
{
	static const struct plan plan = { .chunk = 7, .together = true };
	static struct model m;
	struct backend b;

	random_model(&random_shapes[0], &m);
	open_named(&m, "gpu", &b);
	run(&b, &plan, m.config.vocab, want);
	b.close(&b);
	for (int i = 0; i < m.config.n_layers; i++) {
		struct model_layer *l = &m.layers[i];
		struct ternary *all[] = { &l->q, &l->k, &l->v, &l->o, &l->gate,
			&l->up, &l->down };

		for (size_t j = 0; j < sizeof(all) / sizeof(all[0]); j++)
			*all[j] = random_as_base3(all[j]);
	}
	open_named(&m, "gpu", &b);
	run(&b, &plan, m.config.vocab, got);
	b.close(&b);
	compare(&plan, m.config.vocab, "B3", 1);
}
END_TEST

/* The n-th call of a function of the runtime fails: what the backend says of it. */
static const struct {
	const char *fail;
	const char *memory;	/* bytes of the device, or NULL */
	bool opens;
	int code;
	const char *text;
} faults[] = {
	{ "count:1", NULL, false, ERR_NOT_FOUND, "no GPU: the HIP runtime is installed and "
	    "sees no device" },
	{ "load:1", NULL, false, ERR_NOT_FOUND, "takes none of the code objects" },
	{ "function:3", NULL, false, ERR_SYSTEM, "gpu_gemv_set_1 failed: hipErrorEmulated" },
	{ "none:1", "100000", false, ERR_NO_MEMORY, "of memory for the model" },
	{ "none:1", "50000000", false, ERR_NO_MEMORY, "MiB of memory for the KV cache; " },
	{ "launch:1", NULL, true, ERR_SYSTEM, "GPU: gpu_embed_rows failed: "
	    "hipErrorEmulated (700)" },
	{ "instantiate:1", NULL, true, ERR_SYSTEM, "GPU: making a graph of a step failed" },
	{ "synchronize:3", NULL, true, ERR_SYSTEM, "GPU: a step failed: hipErrorEmulated "
	    "(700); the kernel that began last was gpu_head_i8_1" },
};

START_TEST(every_failure_of_the_runtime_is_told)
{
	/* 640 MB of pages. */
	struct backend_options o = { .name = "gpu", .max_rows = 64, .n_ctx = 128,
		.n_pages = faults[_i].opens ? N_PAGES : 20000 };
	struct backend_row row = { .pages = pages_of(0, false), .want_logits = true };
	static struct model m;
	struct backend b = { 0 };
	struct err e;
	int r;

	random_model(&random_shapes[0], &m);
	setenv("EMULATED_FAIL", faults[_i].fail, 1);
	if (faults[_i].memory != NULL)
		setenv("EMULATED_MEMORY", faults[_i].memory, 1);
	r = backend_open(&m, &o, &b, &e);
	if (faults[_i].opens) {
		ck_assert_msg(r == 0, "%s", e.text);
		r = b.forward(&b, &row, 1, logits, &e);
	}
	ck_assert_int_eq(r, faults[_i].code);
	ck_assert_msg(strstr(e.text, faults[_i].text) != NULL, "%s", e.text);
	if (!faults[_i].opens)
		return;
	/* What has failed stays so: no output that looks right. */
	ck_assert_int_eq(b.forward(&b, &row, 1, logits, &e), ERR_SYSTEM);
	b.close(&b);
}
END_TEST

START_TEST(what_it_cannot_do_auto_leaves_to_the_cpu)
{
	struct backend_options o = { .name = "gpu", .n_threads = 1, .n_pages = N_PAGES,
		.max_rows = 64, .n_ctx = 128, .kv = "i8" };
	static struct model m;
	struct backend b;
	struct err e;

	random_model(&random_shapes[0], &m);
	ck_assert_int_eq(backend_open(&m, &o, &b, &e), ERR_UNSUPPORTED);
	ck_assert_str_eq(e.text, "GPU: a KV cache in i8; it has only f16");
	o.name = "auto";
	ck_assert_msg(backend_open(&m, &o, &b, &e) == 0, "%s", e.text);
	ck_assert_ptr_eq(strstr(b.name, "cpu "), b.name);
	ck_assert_str_eq(b.instead, "GPU: a KV cache in i8; it has only f16");
	b.close(&b);
}
END_TEST

/* All shapes on one target; what the others do differently two shapes show. */
static int
run_tests(void)
{
	bool first = gpu_world_first();
	TCase *t = tcase_create("gpu");

	tcase_add_loop_test(t, logits_are_the_oracles_within_rounding, 0,
	    first ? N_RANDOM_SHAPES : 2);
	tcase_add_loop_test(t, logits_do_not_depend_on_company_cuts_or_pages, 0,
	    first ? (int)(sizeof(shapes_cut) / sizeof(shapes_cut[0])) : 1);
	if (first) {
		tcase_add_test(t, a_model_in_b3_has_the_same_logits);
		tcase_add_test(t, what_it_cannot_do_auto_leaves_to_the_cpu);
	}
	if (first && strcmp(getenv("GPU_TARGET"), "device") != 0)
		tcase_add_loop_test(t, every_failure_of_the_runtime_is_told, 0,
		    sizeof(faults) / sizeof(faults[0]));
	return gpu_world_run(t, "gpu");
}

int
main(int argc, char **argv)
{
	(void)argc;
	shorten();
	return gpu_world_main(argv[0], run_tests);
}

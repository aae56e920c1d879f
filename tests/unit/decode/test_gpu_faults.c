/*
 * Any call of the runtime may fail, from the start of a backend to its end: here the first
 * and the last of each function do in each stage of its life, and everything after them, or
 * nothing.  What failed is told in one sentence with the runtime's word for it, the backend
 * gives nothing from then on, all is let go, and what was given before is what a run without
 * a fault gives.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "backend/backend.h"
#include "gpu_world.h"
#include "random_model.h"

enum { VOCAB = 40, HIDDEN = 64, PROMPT = 8, CALLS_MAX = 1000, CACHE_PAGES = 8, PAGE_MAX = 1 << 14 };

static const struct random_shape shape = { "small", VOCAB, HIDDEN, 1, 2, 1, 32, 96,
	MODEL_RELU2, false, true, true, .type = DENSE_I8 };

/* tests/gpu/driver.cpp, which is not linked. */
static struct {
	void (*begin)(void);
	int (*calls)(void);
	int (*held)(void);
	const char *(*call)(int i);
	const char *(*failed)(void);
} emulator;

/* What a stage gives. */
struct output {
	float logits[2][VOCAB], hidden[HIDDEN];
	struct backend_top top[3];
	char page[PAGE_MAX];
};

static struct model m;
static const int32_t one[] = { 0, 1 }, other[] = { 2, 3 }, copied[] = { 4, 5 },
	written[] = { 6, 7 };

static struct backend_row
row_of(const int32_t *pages, int pos)
{
	return (struct backend_row){ .token = (pos * 7 + 3) % VOCAB, .pos = pos,
		.pages = pages, .want_logits = true };
}

/* Rows that decode: two sequences. */
static int
step(struct backend *b, int at, struct output *o, struct err *e)
{
	struct backend_row rows[] = { row_of(one, PROMPT + at), row_of(other, at) };

	return b->forward(b, rows, 2, o->logits[0], e);
}

/* Rows of one sequence. */
static int
prompt(struct backend *b, struct output *o, struct err *e)
{
	struct backend_row rows[PROMPT];

	for (int i = 0; i < PROMPT; i++) {
		rows[i] = row_of(one, i);
		rows[i].want_logits = i == PROMPT - 1;
	}
	return b->forward(b, rows, PROMPT, o->logits[0], e);
}

/* The second pass is one that is timed, the next is recorded, and that after it replayed. */
static int
timed(struct backend *b, struct output *o, struct err *e)
{
	return step(b, 0, o, e);
}

static int
recorded(struct backend *b, struct output *o, struct err *e)
{
	return step(b, 1, o, e);
}

static int
replayed(struct backend *b, struct output *o, struct err *e)
{
	return step(b, 2, o, e);
}

static int
largest_and_hidden(struct backend *b, struct output *o, struct err *e)
{
	struct backend_row rows[] = { row_of(one, PROMPT + 3), row_of(other, 3) };

	rows[0].want_logits = rows[1].want_logits = false;
	rows[0].n_top = 3;
	rows[0].top = o->top;
	rows[1].hidden = o->hidden;
	return b->forward(b, rows, 2, NULL, e);
}

static int
in_a_copied_page(struct backend *b, struct output *o, struct err *e)
{
	struct backend_row row = row_of(copied, PROMPT + 4);
	int r = b->copy_page(b, one[0], copied[0], PROMPT + 4, e);

	return r != 0 ? r : b->forward(b, &row, 1, o->logits[0], e);
}

static int
snapshot(struct backend *b, struct output *o, struct err *e)
{
	struct backend_row row = row_of(written, PROMPT + 2);
	int r;

	if ((r = b->read_page(b, one[0], PROMPT + 2, o->page, e)) != 0 ||
	    (r = b->write_page(b, written[0], o->page, e)) != 0)
		return r;
	return b->forward(b, &row, 1, o->logits[0], e);
}

static int
memory_rate(struct backend *b, struct output *o, struct err *e)
{
	double rate;

	(void)o;
	return b->memory_rate(b, 1 << 16, &rate, e);
}

static const struct {
	const char *what;
	int (*run)(struct backend *b, struct output *o, struct err *e);
} stages[] = {
	{ "a prompt", prompt }, { "a step that is timed", timed },
	{ "a step that is recorded", recorded }, { "a step that is replayed", replayed },
	{ "largest logits and hidden states", largest_and_hidden },
	{ "a copy of a page", in_a_copied_page }, { "a snapshot", snapshot },
	{ "how fast memory is", memory_rate },
};
enum { N_STAGES = sizeof(stages) / sizeof(stages[0]) };

static struct output want[N_STAGES];
/* Calls up to the end of the start and of each stage; those that are made to fail. */
static int calls_to[N_STAGES + 2], chosen[CALLS_MAX], n_chosen;

static int
open_backend(int device, struct backend *b, struct err *e)
{
	struct backend_options o = { .name = "gpu", .n_pages = CACHE_PAGES, .max_rows = 64,
		.n_ctx = 64, .device = device };

	return backend_open(&m, &o, b, e);
}

/* One sentence, with the runtime's word for what it is. */
static void
check_sentence(const struct err *e, const char *what)
{
	ck_assert_msg(strstr(e->text, "hipErrorEmulated") != NULL, "%s: %s", what, e->text);
	ck_assert_msg(strstr(e->text, "GPU: ") != NULL, "%s: %s", what, e->text);
	ck_assert_msg(strchr(e->text, '\n') == NULL, "%s: %s", what, e->text);
}

/* Every stage until one fails; returns its number, or N_STAGES. */
static int
run_stages(struct backend *b, struct err *e)
{
	static struct output got;

	for (int i = 0; i < N_STAGES; i++) {
		memset(&got, 0, sizeof(got));
		if (stages[i].run(b, &got, e) != 0)
			return i;
		ck_assert_msg(memcmp(&got, &want[i], sizeof(got)) == 0, "%s, after %s "
		    "failed", stages[i].what, emulator.failed());
	}
	return N_STAGES;
}

/* Nothing works any more, and it says so. */
static void
check_dead(struct backend *b)
{
	static struct output got;
	struct err e;

	for (int i = 0; i < N_STAGES; i++)
		ck_assert_int_eq(stages[i].run(b, &got, &e), ERR_SYSTEM);
	ck_assert_int_eq(b->read_page(b, 0, KV_PAGE, got.page, &e), ERR_SYSTEM);
	ck_assert_int_eq(b->write_page(b, 0, got.page, &e), ERR_SYSTEM);
}

static void
fail_call(int n, const char *how)
{
	char fail[32];

	snprintf(fail, sizeof(fail), "any:%d%s", n, how);
	setenv("EMULATED_FAIL", fail, 1);
	emulator.begin();
}

START_TEST(any_call_may_fail_and_it_is_told)
{
	int n = chosen[_i], stage, r;
	struct backend b = { 0 };
	struct err e = { 0 };
	bool given_back;

	fail_call(n, _i % 4 == 0 ? "" : ":once");
	if ((r = open_backend(0, &b, &e)) != 0) {
		check_sentence(&e, "the start");
		ck_assert_int_le(n, calls_to[0]);
		ck_assert_int_eq(emulator.held(), 0);
		return;
	}
	stage = run_stages(&b, &e);
	given_back = strcmp(emulator.failed(), "free") == 0;
	if (stage < N_STAGES) {
		check_sentence(&e, stages[stage].what);
		check_dead(&b);
	} else {
		ck_assert_msg(given_back || n > calls_to[N_STAGES], "%s failed, call %d, "
		    "and nobody noticed", emulator.failed(), n);
	}
	b.close(&b);
	ck_assert_int_eq(emulator.held(), 0);
	ck_assert_str_ne(emulator.failed(), "");
}
END_TEST

static void *
read_elsewhere(void *arg)
{
	static struct output got;
	struct backend *b = arg;
	struct err e;

	ck_assert_int_eq(b->read_page(b, 0, PROMPT + 2, got.page, &e), 0);
	return memcmp(got.page, want[N_STAGES - 2].page, sizeof(got.page)) == 0 ? arg : NULL;
}

/* The emulator stops a program that touches what is another device's. */
START_TEST(of_two_devices_the_one_that_was_chosen_does_everything)
{
	pthread_t thread;
	struct backend b;
	void *same = NULL;
	struct err e;

	setenv("EMULATED_DEVICES", "2", 1);
	emulator.begin();
	ck_assert_int_eq(open_backend(2, &b, &e), ERR_NOT_FOUND);
	ck_assert_str_eq(e.text, "no GPU: there is no device 2; there are 2");
	ck_assert_int_eq(emulator.held(), 0);
	ck_assert_msg(open_backend(1, &b, &e) == 0, "%s", e.text);
	ck_assert_msg(strstr(b.name, "Emulated device 1") != NULL, "%s", b.name);
	ck_assert_msg(run_stages(&b, &e) == N_STAGES, "%s", e.text);
	ck_assert_int_eq(pthread_create(&thread, NULL, read_elsewhere, &b), 0);
	ck_assert_int_eq(pthread_join(thread, &same), 0);
	ck_assert_ptr_nonnull(same);
	b.close(&b);
	ck_assert_int_eq(emulator.held(), 0);
}
END_TEST

static void
find(void *lib, const char *name, void *function)
{
	void *symbol = dlsym(lib, name);

	if (symbol == NULL)
		abort();
	memcpy(function, &symbol, sizeof(symbol));
}

/* Of calls from to to the first and the last of each function. */
static void
choose(int from, int to)
{
	for (int i = from; i <= to; i++) {
		bool before = false, after = false;

		for (int k = from; k <= to; k++)
			if (strcmp(emulator.call(i), emulator.call(k)) == 0) {
				before |= k < i;
				after |= k > i;
			}
		if (!before || !after)
			chosen[n_chosen++] = i;
	}
}

/* A run without a fault says what is right, and how many calls there are. */
static void
rehearse(void)
{
	void *lib = dlopen("libamdhip64.so.7", RTLD_NOW | RTLD_LOCAL);
	struct backend b;
	struct err e;

	if (lib == NULL)
		abort();
	find(lib, "emulated_begin", &emulator.begin);
	find(lib, "emulated_calls", &emulator.calls);
	find(lib, "emulated_held", &emulator.held);
	find(lib, "emulated_call", &emulator.call);
	find(lib, "emulated_failed", &emulator.failed);
	random_model(&shape, &m);
	emulator.begin();
	if (open_backend(0, &b, &e) != 0 || b.page_bytes > PAGE_MAX)
		abort();
	calls_to[0] = emulator.calls();
	for (int i = 0; i < N_STAGES; i++) {
		if (stages[i].run(&b, &want[i], &e) != 0)
			abort();
		calls_to[i + 1] = emulator.calls();
	}
	b.close(&b);
	calls_to[N_STAGES + 1] = emulator.calls();
	if (emulator.held() != 0 || emulator.calls() > CALLS_MAX)
		abort();
	choose(1, calls_to[0]);
	for (int i = 0; i <= N_STAGES; i++)
		choose(calls_to[i] + 1, calls_to[i + 1]);
}

/* On gfx12 the host does what it does on gfx11; on sm_90 a step is one launch. */
static int
run_tests(void)
{
	TCase *t = tcase_create("gpu faults");

	if (strcmp(getenv("GPU_TARGET"), "gfx12") == 0 ||
	    strcmp(getenv("GPU_TARGET"), "device") == 0)
		return EXIT_SUCCESS;
	rehearse();
	printf("%s: %d of %d calls\n", getenv("GPU_TARGET"), n_chosen, calls_to[N_STAGES + 1]);
	tcase_add_loop_test(t, any_call_may_fail_and_it_is_told, 0, n_chosen);
	tcase_add_test(t, of_two_devices_the_one_that_was_chosen_does_everything);
	return gpu_world_run(t, "gpu faults");
}

int
main(int argc, char **argv)
{
	(void)argc;
	return gpu_world_main(argv[0], run_tests);
}

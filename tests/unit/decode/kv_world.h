#ifndef TESTS_KV_WORLD_H
#define TESTS_KV_WORLD_H

#include <check.h>

#include "backend/backend.h"

/* Every backend and CPU variant with every form of KV cache, and a sequence fed to it. */
enum { N_PAGES = 16, N_VOCAB_MAX = 130, N_LONG = 4 * KV_PAGE };

static const struct {
	const char *name, *isa, *kv;
} backends[] = {
	{ "ref", NULL, "f16" }, { "cpu", "avx512", "f16" },
	{ "cpu", "avx512", "i8" }, { "cpu", "avx2", "f16" },
	{ "cpu", "avx2", "i8" }, { "cpu", "neon", "f16" },
	{ "cpu", "neon", "i8" }, { "cpu", "scalar", NULL },
	{ "cpu", "scalar", "i8" },
};
enum { N_BACKENDS = sizeof(backends) / sizeof(backends[0]) };

static float want[N_LONG * N_VOCAB_MAX], got[N_LONG * N_VOCAB_MAX];

/* False if this machine lacks it. */
static bool
open_one(const struct model *m, int which, int threads, int n_pages,
    struct backend *b)
{
	struct backend_options o = { .name = backends[which].name,
		.isa = backends[which].isa, .n_threads = threads,
		.n_pages = n_pages, .max_rows = 64, .kv = backends[which].kv,
		.n_ctx = n_pages * KV_PAGE };
	struct err e;
	int r = backend_open(m, &o, b, &e);

	ck_assert_msg(r == 0 || (r == ERR_NOT_FOUND && which > 0), "%s", e.text);
	return r == 0;
}

/* Positions from..to-1, at most n rows at a time, logits of all into out. */
static void
feed(struct backend *b, int vocab, const int32_t *pages, int seed, int from,
    int to, int n, float *out)
{
	struct backend_row rows[64];
	struct err e;

	while (from < to) {
		int k = to - from < n ? to - from : n;

		for (int i = 0; i < k; i++)
			rows[i] = (struct backend_row){
				.token = (seed + (from + i) * (from + i + 7)) % vocab,
				.pos = from + i, .pages = pages,
				.want_logits = true,
			};
		ck_assert_int_eq(b->forward(b, rows, k, out, &e), 0);
		out += k * vocab;
		from += k;
	}
}

#endif

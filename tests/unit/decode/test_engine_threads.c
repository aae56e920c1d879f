/*
 * Bus threads that add, acknowledge, cancel and ask while the compute thread
 * steps, on few pages.  For the thread sanitizer; without it, that all ends.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "clock.h"
#include "engine_world.h"

enum { THREADS = 3, REQUESTS = 150 };

static atomic_int n_ended;

static void
ignore_step(void *arg, int64_t step, json_t *events)
{
	(void)arg;
	(void)step;
	(void)events;
}

/* That of the world is the compute thread's. */
static int64_t
clock_us(void *arg)
{
	(void)arg;
	return clock_ns() / 1000;
}

static int
add(const char *id, unsigned r)
{
	struct decode_generate g;
	struct decode_accepted a;
	int32_t prompt[300];
	size_t n = 1 + (r >> 8) % 300;
	json_t *obj = json_pack("{s:s, s:i, s:i, s:i}", "id", id, "max_tokens",
	    (int)(1 + (r >> 4) % 60), "client", (int)(r % 3), "lease_ms", 60000);
	bool known;
	struct err e;
	int k;

	ck_assert_int_eq(field_decode(decode_generate_fields(), sizeof(g), obj,
	    &g, &e), 0);
	for (size_t i = 0; i < n; i++)
		prompt[i] = i > 250 ? (int32_t)(r % 200) : (int32_t)(i % 7);
	k = engine_find(world.en, &g, &known, &a, &e);
	if (k == 0)
		k = engine_add(world.en, &g, prompt, n, &a, &e);
	json_decref(obj);
	return k;
}

static void *
ask(void *arg)
{
	unsigned r = (unsigned)(intptr_t)arg * 7919 + 1;
	char id[DECODE_ID_LEN + 1];
	struct decode_status s;
	struct engine_stats st;

	for (int i = 0; i < REQUESTS; i++) {
		int k;

		snprintf(id, sizeof(id), "%016x%016x", r, (unsigned)i);
		for (unsigned x = r; add(id, x) != 0; usleep(100))
			;
		for (k = 0; engine_ack(world.en, id, k); k += 4) {
			r = r * 1664525 + 1013904223;
			if ((r >> 16) % 50 == 0)
				engine_cancel(world.en, id);
			engine_status(world.en, &s);
			json_decref(s.held);
			json_decref(s.waiting);
			json_decref(s.prefill);
			engine_stats(world.en, &st);
			usleep(20);
		}
	}
	atomic_fetch_add(&n_ended, 1);
	return NULL;
}

START_TEST(threads_ask_while_one_computes)
{
	pthread_t t[THREADS];

	world.config.n_pages = WORLD_CTX / KV_PAGE + 1;
	world.config.queue_max = 2;
	world.config.on_step = ignore_step;
	world.config.clock_us = clock_us;
	world_open();
	for (intptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, ask, (void *)i), 0);
	while (atomic_load(&n_ended) < THREADS)
		if (!world_step())
			engine_wait(world.en, 1, 5);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	ck_assert_int_eq(world_stats().held, 0);
	ck_assert_int_eq(world_stats().kv_pages_free, world.config.n_pages);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("engine_threads");
	TCase *t = tcase_create("threads");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, threads_ask_while_one_computes);
	return world_main(s, t);
}

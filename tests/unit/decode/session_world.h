#ifndef TESTS_SESSION_WORLD_H
#define TESTS_SESSION_WORLD_H

#include <unistd.h>

#include "engine_session.h"
#include "engine_world.h"
#include "session_store.h"

/*
 * Sessions in the world of an engine, and a directory for their snapshots.  The
 * prompts are ids, so that it is clear what is in which page.
 */
enum { SESSION_PAGE = KV_PAGE * (int)sizeof(int32_t) };

static char session_dir[64];
static struct session_store *store;
static int store_errors;

static inline int
session_read_page(struct backend *b, int32_t page, int n, void *out,
    struct err *e)
{
	(void)b;
	(void)e;
	memset(out, 0, SESSION_PAGE);
	memcpy(out, world.kv + page * KV_PAGE, (size_t)n * sizeof(int32_t));
	return 0;
}

static inline int
session_write_page(struct backend *b, int32_t page, const void *in,
    struct err *e)
{
	(void)b;
	(void)e;
	memcpy(world.kv + page * KV_PAGE, in, SESSION_PAGE);
	return 0;
}

static inline void
session_on_error(void *arg, const char *key, const struct err *e)
{
	(void)arg;
	(void)key;
	(void)e;
	store_errors++;
}

static inline void
session_alive(void)
{
}

static inline struct snapshot_identity
session_identity(void)
{
	return (struct snapshot_identity){ .model = "fingerprint",
		.kv_format = "world", .tokenizer = { 1, 2, 3 },
		.page_bytes = SESSION_PAGE, .n_ctx = WORLD_CTX,
		.n_vocab = WORLD_VOCAB };
}

static inline void
session_reset(void)
{
	world_reset();
	world.config.sessions_max = 8;
	world.config.session_ttl_us = 60 * 1000000;
	world.backend.read_page = session_read_page;
	world.backend.write_page = session_write_page;
	strcpy(session_dir, BUILD "/sessions-XX" "XX" "XX");
	ck_assert_ptr_nonnull(mkdtemp(session_dir));
	world_open();
}

static inline void
store_open(int64_t max_bytes)
{
	struct session_store_config c = { .dir = session_dir,
		.max_bytes = max_bytes, .engine = world.en,
		.backend = &world.backend, .id = session_identity(),
		.on_error = session_on_error };
	struct err e;

	ck_assert_msg(session_store_open(&c, &store, &e) == 0, "%s", e.text);
}

static inline int
store_close(int64_t budget_ms)
{
	int n = 0;

	if (store != NULL)
		n = session_store_stop(store, budget_ms, session_alive);
	session_store_close(store);
	store = NULL;
	return n;
}

static inline void
session_close(void)
{
	char command[100];

	store_close(0);
	snprintf(command, sizeof(command), "rm -rf %s", session_dir);
	ck_assert_int_eq(system(command), 0);
	world_close();
}

/* Another life of the worker; the clock goes on. */
static inline void
session_restart(void)
{
	store_close(1000);
	world_open();
	store_open(1 << 20);
}

/* generate n of session key: the first len of the ids 0, 1, … from `from` on.
 * Returns the error's code; *state is what accepted said. */
static inline int
session_try(int n, const char *key, int from, int len, const char *members,
    struct decode_accepted *a, struct err *e)
{
	struct engine_prompt p = { 0 };
	struct transcript *said = NULL;
	struct decode_generate g;
	int32_t ids[WORLD_CTX];
	char text[512];
	bool want;
	json_t *obj;
	int r;

	for (int i = 0; i < len; i++)
		ids[i] = (from + i * (i + 1)) % 200;
	snprintf(text, sizeof(text), "{'id':'%s','session':'%s'%s%s}",
	    world_id(n), key, *members != '\0' ? "," : "", members);
	for (char *c = text; *c != '\0'; c++)
		*c = *c == '\'' ? '"' : *c;
	ck_assert_ptr_nonnull(obj = json_loads(text, 0, NULL));
	ck_assert_int_eq(field_decode(decode_generate_fields(), sizeof(g), obj,
	    &g, e), 0);
	r = engine_session_peek(world.en, &g, &said, &want, e);
	if (r == 0 && want && store != NULL) {
		int k = session_store_restore(store, key, e);

		p.refused = k != 0 && k != ERR_NOT_FOUND;
	}
	engine_session_done(world.en, said);
	if (r == 0) {
		ck_assert_int_eq(transcript_of_ids(ids, (size_t)len, &p.says, e),
		    0);
		r = engine_add_prompt(world.en, &g, &p, a, e);
		transcript_free(p.says);
	}
	json_decref(obj);
	return r;
}

/* A whole turn; what accepted said of the session. */
static inline const char *
session_turn(int n, const char *key, int from, int len)
{
	struct decode_accepted a;
	struct err e;

	ck_assert_msg(session_try(n, key, from, len, "'max_tokens':5", &a,
	    &e) == 0, "%s", e.text);
	world_run();
	return a.session_state;
}

static inline int
session_op(const char *key, const char *op, json_t **is, struct err *e)
{
	struct decode_session q = { .key = key, .owner = "", .op = op,
		.to = "f0", .to_name = "" };

	return engine_session(world.en, &q, is, e);
}

static inline int64_t
session_member(const char *key, const char *member)
{
	const json_t *v;
	struct err e;
	json_t *is;
	int64_t n;

	ck_assert_msg(session_op(key, "get", &is, &e) == 0, "%s", e.text);
	v = json_object_get(is, member);
	n = json_is_boolean(v) ? json_is_true(v) : json_integer_value(v);
	json_decref(is);
	return n;
}

static inline void
session_do(const char *key, const char *op)
{
	struct err e;
	json_t *is;

	ck_assert_msg(session_op(key, op, &is, &e) == 0, "%s", e.text);
	json_decref(is);
}

static inline int
session_main(Suite *s, TCase *t)
{
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, session_reset, session_close);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif

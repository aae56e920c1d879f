#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chat.h"

enum { SAVED_MS = 60000, SLEEP_US = 20000 };

struct worker chat_worker = { .base = 0x10000 };
char chat_dir[64];
int chat_requests;

void
chat_setup(void)
{
	process_make_dir(chat_dir);
}

void
chat_teardown(void)
{
	worker_forget(&chat_worker);
	process_abandon(&chat_worker.process);
	memset(&chat_worker.process, 0, sizeof(chat_worker.process));
	process_remove_dir(chat_dir);
}

/* With the directory of sessions, and more. */
void
chat_start(const char *a, const char *b, const char *c, const char *d)
{
	const char *extra[] = { "--session-dir", chat_dir, "--context", "1024",
		"--backend", "cpu", "--drain-ms", "60000", a, b, c, d, NULL };

	worker_start(&chat_worker, extra);
}

void
chat_say(struct chat *c, const char *role, const char *content)
{
	if (c->messages == NULL)
		c->messages = json_array();
	json_array_append_new(c->messages, json_pack("{s:s, s:s}", "role", role,
	    "content", content));
}

json_t *
chat_body_of(const struct chat *c, int max_tokens)
{
	json_t *body = json_pack("{s:O, s:f, s:i, s:b}", "messages",
	    c->messages, "temperature", 0.0, "max_tokens", max_tokens,
	    "ignore_eos", 1);

	if (c->key != NULL)
		json_object_set_new(body, "session", json_string(c->key));
	return body;
}

/* What accepted said of the last request. */
int64_t
chat_number(const struct chat *c, const char *member)
{
	return json_integer_value(json_object_get(c->last->accepted, member));
}

const char *
chat_state(const struct chat *c)
{
	return json_string_value(json_object_get(c->last->accepted,
	    "session_state"));
}

/* One more turn: what was said to it. */
const char *
chat_turn(struct chat *c, const char *content, int max_tokens)
{
	int n = ++chat_requests;
	struct err e;

	chat_say(c, "user", content);
	ck_assert_msg(worker_generate(&chat_worker, n, chat_body_of(c, max_tokens), 0,
	    &e) == 0, "%s", e.text);
	c->last = worker_read(&chat_worker, n);
	chat_say(c, "assistant", c->last->text.data);
	return c->last->text.data;
}

/* The same turn of the same chat, as somebody without a session is answered. */
char *
chat_reference(const struct chat *c, const char *content, int max_tokens)
{
	struct chat other = { .messages = json_deep_copy(c->messages) };
	char *text;

	if (other.messages == NULL)
		other.messages = json_array();
	text = strdup(chat_turn(&other, content, max_tokens));
	json_decref(other.messages);
	return text;
}

/* The same turn in a fork of its session. */
char *
chat_forked(const struct chat *c, const char *content, int max_tokens)
{
	struct chat other = { .key = "f0", .messages = json_deep_copy(
		c->messages) };
	struct err e;
	char *text;

	ck_assert_int_eq(process_call(chat_worker.client, DECODE_TYPE_session, json_pack(
	    "{s:s, s:s, s:s}", "key", c->key, "op", "fork", "to", other.key),
	    NULL, &e), 0);
	text = strdup(chat_turn(&other, content, max_tokens));
	json_decref(chat_get(other.key, "drop"));
	json_decref(other.messages);
	return text;
}

int
chat_operate(const char *key, const char *op, json_t **is, struct err *e)
{
	return process_call(chat_worker.client, DECODE_TYPE_session, json_pack(
	    "{s:s, s:s}", "key", key, "op", op), is, e);
}

json_t *
chat_get(const char *key, const char *op)
{
	struct err e;
	json_t *is;

	ck_assert_msg(chat_operate(key, op, &is, &e) == 0, "%s %s: %s", op, key,
	    e.text);
	return is;
}

int64_t
chat_member_of(const char *key, const char *name)
{
	json_t *is = chat_get(key, "get");
	const json_t *v = json_object_get(is, name);
	int64_t n = json_is_boolean(v) ? json_is_true(v) :
	    json_integer_value(v);

	json_decref(is);
	return n;
}

void
chat_wait_saved(const char *key)
{
	for (int i = 0; i < SAVED_MS * 1000 / SLEEP_US; i++) {
		if (chat_member_of(key, "saved"))
			return;
		usleep(SLEEP_US);
	}
	ck_abort_msg("the session is not saved");
}

void
chat_path_of(const char *key, char path[200])
{
	snprintf(path, 200, "%s/%s.kv", chat_dir, key);
}

int
chat_main(Suite *s)
{
	SRunner *r;
	int failed;

	if (!worker_has_model()) {
		printf("there is no %s\n", WORKER_MODEL);
		return 77;
	}
	r = srunner_create(s);
	srunner_set_fork_status(r, CK_NOFORK);	/* NNG */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	process_abandon(&chat_worker.process);
	process_remove_dir(chat_worker.dir);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

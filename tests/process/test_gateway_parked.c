/*
 * Streams whose client goes away and comes back: both halves together are the
 * text of one that was never cut.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fleet_peer.h"

#define STORY "'model':'halo-demo','stream':true,'seed':3,'temperature':0.8," \
	"'max_tokens':800,'ignore_eos':true"

#define TWO(stream) "'model':'halo-demo','stream':" #stream ",'n':2,'seed':3," \
	"'temperature':0.8,'max_tokens':300,'ignore_eos':true"

static const char mine[] = "X-Api-Key: key-of-mine-1111\r\n";
static const char theirs[] = "X-Api-Key: key-of-theirs-2222\r\n";
static char *uncut;
static char keys[96];

static void
start(void)
{
	static const char *extra[] = { "--api-key-file", keys, NULL };
	struct http_client c;
	FILE *f;

	snprintf(keys, sizeof(keys), BUILD "/parked-keys-%d", (int)getpid());
	f = fopen(keys, "w");
	fputs("key-of-mine-1111\nkey-of-theirs-2222\n", f);
	fclose(f);
	fleet_headers = mine;
	fleet_start(1, "bin/bitnet_decode", extra);
	fleet_ask(&c, STORY, "Tell me a story.");
	uncut = fleet_text(&c);
}

static void
stop(void)
{
	fleet_stop();
	unlink(keys);
	free(uncut);
}

/* Ask, read at least n bytes of text; id [64], and the text so far. */
static char *
begin(struct http_client *c, size_t n, char *id)
{
	struct buf text = { 0 };
	const char *at;

	fleet_wait("/readyz", 200);
	fleet_ask(c, STORY, "Tell me a story.");
	http_until(c, "\"id\":\"");
	do {
		buf_free(&text);
		http_stream_text(c, &text);
	} while (text.len < n && http_more(c));
	at = strstr(c->in.data, "\"id\":\"") + 6;
	snprintf(id, 64, "%.*s", (int)strcspn(at, "\""), at);
	buf_add(&text, "", 1);
	return text.data;
}

static void
take_up(struct http_client *c, const char *id, size_t from,
    const char *headers)
{
	char path[160];

	snprintf(path, sizeof(path), "/v1/stream?id=%s&from=%zu", id, from);
	http_get(c, fleet_port, path, headers);
}

static void
check_halves(char *first, char *second)
{
	struct buf both = { 0 };

	buf_adds(&both, first);
	buf_adds(&both, second);
	ck_assert_str_eq(both.data, uncut);
	buf_free(&both);
	free(first);
	free(second);
}

START_TEST(two_halves_make_the_text)
{
	struct http_client c;
	char id[64], *first = begin(&c, (size_t)_i * 200 + 1, id), *second;

	http_close(&c);
	if (_i == 2)
		fleet_kill(0);
	take_up(&c, id, strlen(first), mine);
	if (_i == 2)
		fleet_start_worker(0);
	if (_i == 2) {
		http_rest(&c);	/* it may not be back: as it is said */
		for (int k = 0; k < PROCESS_TRIES && http_status(&c) == 503; k++) {
			http_close(&c);
			usleep(200000);
			take_up(&c, id, strlen(first), mine);
			http_rest(&c);
		}
	}
	second = fleet_text(&c);
	ck_assert(strstr(uncut, second) != uncut);
	check_halves(first, second);
}
END_TEST

START_TEST(it_may_be_cut_again_and_the_worker_killed)
{
	struct http_client c;
	char id[64], *first = begin(&c, 100, id), *second;
	struct buf part;

	http_close(&c);
	take_up(&c, id, strlen(first), mine);
	http_until(&c, "\"content\":\"");
	fleet_kill(0);
	http_stream_text(&c, &part);
	http_close(&c);
	buf_add(&part, "", 1);
	first = realloc(first, strlen(first) + part.len + 1);
	strcat(first, part.data);
	buf_free(&part);
	fleet_start_worker(0);
	fleet_wait("/readyz", 200);
	take_up(&c, id, strlen(first), mine);
	second = fleet_text(&c);
	check_halves(first, second);
}
END_TEST

/* Its first connection is still there, as far as the gateway knows. */
START_TEST(one_that_still_runs_lets_go)
{
	struct http_client c, old;
	char id[64], *first = begin(&old, 10, id), *second;

	take_up(&c, id, strlen(first), mine);
	second = fleet_text(&c);
	http_rest(&old);
	ck_assert(!http_has(&old, "[DONE]"));
	http_close(&old);
	check_halves(first, second);
}
END_TEST

START_TEST(one_that_ended_can_be_had_again_and_let_go)
{
	struct http_client c;
	char id[64], *first = begin(&c, 10, id), path[128], *again;

	free(first);
	http_rest(&c);
	http_close(&c);
	for (int i = 0; i < 2; i++) {
		take_up(&c, id, 0, mine);
		again = fleet_text(&c);
		ck_assert_str_eq(again, uncut);
		free(again);
	}
	take_up(&c, id, strlen(uncut), mine);
	again = fleet_text(&c);
	ck_assert_str_eq(again != NULL ? again : "", "");
	free(again);
	take_up(&c, id, strlen(uncut) + 1, mine);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 400);
	ck_assert(http_has(&c, "\"param\":\"from\""));
	http_close(&c);
	snprintf(path, sizeof(path), "/v1/stream?id=%s", id);
	for (int i = 0; i < 2; i++) {
		http_send(&c, fleet_port, "DELETE", path, mine, "");
		http_rest(&c);
		ck_assert_int_eq(http_status(&c), i == 0 ? 200 : 404);
		http_close(&c);
	}
}
END_TEST

START_TEST(one_that_runs_can_be_let_go)
{
	struct http_client c, old;
	char id[64], path[128];

	free(begin(&old, 10, id));
	snprintf(path, sizeof(path), "/v1/stream?id=%s", id);
	http_send(&c, fleet_port, "DELETE", path, theirs, "");
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 404);
	http_close(&c);
	http_send(&c, fleet_port, "DELETE", path, mine, "");
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 200);
	http_close(&c);
	http_rest(&old);
	ck_assert(!http_has(&old, "[DONE]"));
	http_close(&old);
	take_up(&c, id, 0, mine);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 404);
	http_close(&c);
}
END_TEST

/* Its answers are taken up one by one. */
START_TEST(one_of_several_answers_is_taken_up)
{
	struct http_client c;
	const char *said = NULL, *at;
	char path[160], *text;
	json_t *v;

	fleet_wait("/readyz", 200);
	fleet_ask(&c, TWO(false), "Tell me a story.");
	http_rest(&c);
	v = json_loads(strstr(c.in.data, "\r\n\r\n") + 4, 0, NULL);
	http_close(&c);
	ck_assert_int_eq(json_unpack(json_array_get(json_object_get(v,
	    "choices"), (size_t)_i), "{s:{s:s}}", "message", "content",
	    &said), 0);
	fleet_ask(&c, TWO(true), "Tell me a story.");
	http_until(&c, "\"index\":1");
	at = strstr(c.in.data, "\"id\":\"") + 6;
	snprintf(path, sizeof(path), "/v1/stream?id=%.*s&index=%d",
	    (int)strcspn(at, "\""), at, _i);
	http_close(&c);
	http_get(&c, fleet_port, path, mine);
	text = fleet_text(&c);
	ck_assert_str_eq(text, said);
	free(text);
	json_decref(v);
}
END_TEST

START_TEST(nobody_else_gets_it)
{
	static const char *const ids[] = { "chatcmpl-none", "" };
	struct http_client c;
	char id[64], *first = begin(&c, 10, id);

	free(first);
	http_close(&c);
	take_up(&c, id, 0, theirs);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 404);
	http_close(&c);
	for (int i = 0; i < 2; i++) {
		take_up(&c, ids[i], 0, mine);
		http_rest(&c);
		ck_assert_int_eq(http_status(&c), i == 0 ? 404 : 400);
		http_close(&c);
	}
	take_up(&c, id, 0, "");
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 401);
	http_close(&c);
	take_up(&c, id, 0, mine);	/* it is still there */
	first = fleet_text(&c);
	ck_assert_str_eq(first, uncut);
	free(first);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway parked");
	TCase *t = tcase_create("gateway parked");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, start, stop);
	tcase_add_loop_test(t, two_halves_make_the_text, 0, 3);
	tcase_add_test(t, it_may_be_cut_again_and_the_worker_killed);
	tcase_add_test(t, one_that_still_runs_lets_go);
	tcase_add_test(t, one_that_ended_can_be_had_again_and_let_go);
	tcase_add_test(t, one_that_runs_can_be_let_go);
	tcase_add_loop_test(t, one_of_several_answers_is_taken_up, 0, 2);
	tcase_add_test(t, nobody_else_gets_it);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#include <pthread.h>

#include "bus_world.h"

START_TEST(a_request_is_answered_with_its_bulk)
{
	struct bus_client *c;
	struct frame request = { .type = ECHO, .obj = json_object(),
	    .bulk = "pcm", .n_bulk = 3 }, reply = { 0 };
	struct err e = { 0 };

	serve("echo");
	c = client("echo");
	assert_echo(c);
	ck_assert_int_eq(bus_call(c, &request, &reply, CALL_MS, &e), 0);
	ck_assert_uint_eq(reply.n_bulk, 3);
	ck_assert_mem_eq(reply.bulk, "pcm", 3);
	frame_free(&reply);
	request.type = FRAME_PING;
	ck_assert_int_eq(bus_call(c, &request, &reply, CALL_MS, &e), 0);
	ck_assert_uint_eq(reply.type, FRAME_PING);
	frame_free(&reply);
	frame_free(&request);
}
END_TEST

START_TEST(the_largest_message_goes_there_and_back)
{
	/* 8 bytes of head, and the object */
	enum { N = BUS_MESSAGE_MAX - 8 - 2 };
	struct frame request = { .type = ECHO, .obj = json_object(),
	    .bulk = calloc(1, N), .n_bulk = N }, reply = { 0 };
	struct bus_client *c;
	struct err e = { 0 };

	serve("largest");
	c = client("largest");
	ck_assert_msg(bus_call(c, &request, &reply, CALL_MS, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(reply.n_bulk, N);
	ck_assert_mem_eq(reply.bulk, request.bulk, N);
	free((void *)(uintptr_t)request.bulk);
	frame_free(&reply);
	frame_free(&request);
}
END_TEST

static const struct {
	uint32_t type;
	int code;
	const char *text, *param;
} failing[] = {
	{ REFUSE, ERR_BUSY, "no room", "id" },
	{ SILENT, ERR_SYSTEM, "the service gave no answer", "" },
	{ HUGE_REPLY, ERR_RANGE, "the message has 4194314 bytes, more than the "
	    "4194304 that the bus takes", "" },
};

START_TEST(a_failure_comes_back_with_code_and_sentence)
{
	static struct bus_client *c;
	struct frame reply = { 0 };
	struct err e = { 0 };

	if (c == NULL) {
		serve("fail");
		c = client("fail");
	}
	ck_assert_int_eq(call(c, failing[_i].type, 1, CALL_MS, &reply, &e),
	    failing[_i].code);
	ck_assert_str_eq(e.text, failing[_i].text);
	ck_assert_str_eq(e.param, failing[_i].param);
	ck_assert_int_eq(e.retry_after_ms, failing[_i].type == REFUSE ? 250 : 0);
	ck_assert_ptr_null(reply.obj);
}
END_TEST

START_TEST(a_request_that_is_too_large_is_not_sent)
{
	struct bus_client *c = client("nowhere-large");
	struct frame request = { .type = ECHO, .obj = json_object(),
	    .bulk = calloc(1, BUS_MESSAGE_MAX), .n_bulk = BUS_MESSAGE_MAX };
	struct frame reply = { 0 };
	struct err e = { 0 };

	ck_assert_int_eq(bus_call(c, &request, &reply, CALL_MS, &e), ERR_RANGE);
	ck_assert_str_eq(e.text, "the message has 4194314 bytes, more than the "
	    "4194304 that the bus takes");
	free((void *)(uintptr_t)request.bulk);
	frame_free(&request);
}
END_TEST

START_TEST(where_nobody_listens_a_call_does_not_wait_for_its_deadline)
{
	struct bus_client *c = client("nowhere");
	int64_t start = clock_ms();
	struct frame reply = { 0 };
	struct err e = { 0 };

	ck_assert_int_eq(call(c, ECHO, 1, 600000, &reply, &e), ERR_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(e.text, "nobody listens at "));
	ck_assert_int_lt(clock_ms() - start, 300000);
}
END_TEST

START_TEST(an_answer_that_comes_late_is_a_timeout)
{
	struct bus_client *c;
	struct frame reply = { 0 };
	struct err e = { 0 };

	serve("slow");
	c = client("slow");
	assert_echo(c);
	ck_assert_int_eq(call(c, SLOW, 1, 50, &reply, &e), ERR_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(e.text, "in time"));
	assert_echo(c);	/* and the late answer is nobody else's */
}
END_TEST

START_TEST(a_client_may_come_before_its_server)
{
	struct bus_client *c = client("later");
	struct frame reply = { 0 };
	struct err e = { 0 };
	int r = ERR_UNAVAILABLE;

	ck_assert_int_eq(call(c, ECHO, 1, 100, &reply, &e), ERR_UNAVAILABLE);
	serve("later");
	for (int64_t end = clock_ms() + WAIT_MS; r != 0 && clock_ms() < end;)
		r = call(c, ECHO, 1, CALL_MS, &reply, &e);
	ck_assert_int_eq(r, 0);
	frame_free(&reply);
}
END_TEST

enum { N_CALLERS = 24 };	/* more than are let through at once */
struct caller {
	pthread_t thread;
	struct bus_client *c;
	int first, n_wrong;
};

static void *
call_many(void *arg)
{
	struct caller *me = arg;
	struct frame reply = { 0 };
	struct err e;

	for (int i = me->first; i < me->first + 200; i++) {
		if (call(me->c, ECHO, i, CALL_MS, &reply, &e) != 0 ||
		    json_integer_value(json_object_get(reply.obj, "n")) != i)
			me->n_wrong++;
		frame_free(&reply);
	}
	return NULL;
}

START_TEST(calls_of_many_threads_get_their_own_answers)
{
	struct caller callers[N_CALLERS];
	struct bus_client *c;

	serve("many");
	c = client("many");
	for (int i = 0; i < N_CALLERS; i++) {
		callers[i] = (struct caller){ .c = c, .first = i * 1000 };
		pthread_create(&callers[i].thread, NULL, call_many, &callers[i]);
	}
	for (int i = 0; i < N_CALLERS; i++) {
		pthread_join(callers[i].thread, NULL);
		ck_assert_int_eq(callers[i].n_wrong, 0);
	}
}
END_TEST

START_TEST(a_subscriber_hears_events_and_silence)
{
	static struct heard h;	/* the subscriber's thread never ends */
	struct bus_publisher *p = NULL;
	struct bus_subscriber *s = NULL;
	int64_t end = clock_ms() + WAIT_MS;
	struct err e = { 0 };

	ck_assert_int_eq(bus_subscribe(&s, dir, "events", 50, on_event, &h, &e),
	    0);
	ck_assert_int_eq(bus_publisher_open(&p, dir, "events", &e), 0);
	publish_until_heard(p, &h);
	/* Nobody publishes now, so the publisher's check does: no event. */
	while (h.silences < 40 && clock_ms() < end)
		usleep(20000);
	ck_assert_int_ge(h.silences, 40);
	ck_assert_int_eq(h.pings, 0);
	ck_assert(bus_publisher_healthy(p));
	ck_assert_uint_eq(bus_publisher_relistens(p), 0);
}
END_TEST

START_TEST(an_event_that_is_too_large_is_refused)
{
	struct frame f = { .type = EVENT, .obj = json_object(),
	    .bulk = calloc(1, BUS_MESSAGE_MAX), .n_bulk = BUS_MESSAGE_MAX };
	struct bus_publisher *p = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(bus_publisher_open(&p, dir, "large", &e), 0);
	ck_assert_int_eq(bus_publish(p, &f, &e), ERR_RANGE);
	free((void *)(uintptr_t)f.bulk);
	frame_free(&f);
}
END_TEST

static mode_t
mode_of(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", dir, name);
	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_mode & 07777;
}

START_TEST(only_owner_and_group_reach_a_socket)
{
	mode_t old = umask(0);
	struct bus_server *s;

	s = serve("mode");
	umask(old);
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq((int)mode_of(""), 0750);
	ck_assert_int_eq((int)mode_of("/mode.sock"), 0660);
	ck_assert_int_eq(bus_lock(dir, "mode", NULL), 0);
	ck_assert_int_eq((int)mode_of("/mode.lock"), 0640);
}
END_TEST

static const struct {
	const char *dir, *name;
	int code;
	const char *text;
} refused[] = {
	{ "/dev/null", "x", ERR_SYSTEM,
	    "runtime directory /dev/null is not a directory" },
	{ "/nonexistent/deep", "x", ERR_SYSTEM, "runtime directory "
	    "/nonexistent/deep cannot be made: No such file or directory" },
	{ "/tmp/0123456789012345678901234567890123456789012345678901234567890"
	    "123456789012345678901234", "sixteen-letters-", ERR_RANGE,
	    "more than 100: choose a shorter runtime directory" },
};

START_TEST(a_bad_directory_is_refused)
{
	struct bus_publisher *p = NULL;
	struct bus_server *s = NULL;
	struct err e = { 0 };

	ck_assert_int_eq(bus_lock(refused[_i].dir, refused[_i].name, &e),
	    refused[_i].code);
	ck_assert_ptr_nonnull(strstr(e.text, refused[_i].text));
	ck_assert_int_eq(bus_serve(&s, refused[_i].dir, refused[_i].name, 1,
	    handle, NULL, &e), refused[_i].code);
	ck_assert_ptr_nonnull(strstr(e.text, refused[_i].text));
	ck_assert_int_eq(bus_publisher_open(&p, refused[_i].dir,
	    refused[_i].name, &e), refused[_i].code);
	ck_assert_ptr_null(s);
	ck_assert_ptr_null(p);
}
END_TEST

int
main(void)
{
	const char *base = make_dir();
	TCase *t = tcase_create("calls and events");

	if (base == NULL)
		return EXIT_FAILURE;
	tcase_add_test(t, a_request_is_answered_with_its_bulk);
	tcase_add_test(t, the_largest_message_goes_there_and_back);
	tcase_add_loop_test(t, a_failure_comes_back_with_code_and_sentence, 0,
	    (int)(sizeof(failing) / sizeof(failing[0])));
	tcase_add_test(t, a_request_that_is_too_large_is_not_sent);
	tcase_add_test(t,
	    where_nobody_listens_a_call_does_not_wait_for_its_deadline);
	tcase_add_test(t, an_answer_that_comes_late_is_a_timeout);
	tcase_add_test(t, a_client_may_come_before_its_server);
	tcase_add_test(t, calls_of_many_threads_get_their_own_answers);
	tcase_add_test(t, a_subscriber_hears_events_and_silence);
	tcase_add_test(t, an_event_that_is_too_large_is_refused);
	tcase_add_test(t, only_owner_and_group_reach_a_socket);
	tcase_add_loop_test(t, a_bad_directory_is_refused, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	return run_cases(t, base);
}

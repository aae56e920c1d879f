/*
 * The gateway with the real worker and the demo model: what the documentation
 * promises, and a kill in the middle.
 */
#include <check.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_client.h"
#include "process.h"

static const char chat[] = "/v1/chat/completions";
static const char hello[] = "Hello! How can I help you today?";

#define ASK(members) "{\"model\":\"halo-demo\"," members "\"messages\":" \
	"[{\"role\":\"user\",\"content\":\"say hello\"}]}"
#define STORY "{\"model\":\"halo-demo\",\"stream\":true,\"seed\":11," \
	"\"temperature\":0.9,\"max_tokens\":900,\"ignore_eos\":true," \
	"\"messages\":[{\"role\":\"user\",\"content\":\"Tell me a story.\"}]}"

static struct process gateway, worker;
static char dir[64], worker_dir[64], worker_path[PATH_MAX];
static int port, worker_port;

static void
start_worker(void)
{
	char number[16];
	const char *args[] = { BUILD "/bin/bitnet_decode", "--model",
		"models/halo-demo.h1b", "--port", number, "--runtime-dir",
		worker_path, "--threads", "1", NULL };

	snprintf(number, sizeof(number), "%d", worker_port);
	process_start(&worker, worker_dir, "decode", args);
	process_ready(&worker);
}

/* The gateway first, in another directory: it has to ask for the worker's. */
static void
start(void)
{
	char bind[32], upstream[40], text[1024];
	const char *args[] = { BUILD "/bin/1bit-halo-server", "--bind", bind,
		"--runtime-dir", dir, "--upstream", upstream, NULL };

	process_make_dir(dir);
	process_make_dir(worker_dir);
	/* Two processes speak of it: a relative one would not do. */
	ck_assert_ptr_nonnull(realpath(worker_dir, worker_path));
	port = process_free_port();
	worker_port = process_free_port();
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", port);
	snprintf(upstream, sizeof(upstream), "http://127.0.0.1:%d",
	    worker_port);
	process_start(&gateway, dir, "gateway", args);
	process_ready(&gateway);
	ck_assert_int_eq(process_get(port, "/readyz", text, sizeof(text)), 503);
	start_worker();
	for (int i = 0; i < PROCESS_TRIES && process_get(port, "/readyz", text,
	    sizeof(text)) != 200; i++)
		usleep(20000);
	ck_assert_int_eq(process_get(port, "/readyz", text, sizeof(text)), 200);
}

static void
stop(void)
{
	ck_assert_int_eq(process_end(&gateway, SIGTERM, PROCESS_END_MS), 0);
	ck_assert_int_eq(process_end(&worker, SIGTERM, PROCESS_END_MS), 0);
	process_remove_dir(dir);
	process_remove_dir(worker_dir);
}

START_TEST(the_demo_model_says_hello)
{
	struct http_client c;
	struct buf text;

	http_post(&c, port, chat, "", ASK("\"stream\":true,\"temperature\":0,"
	    "\"stream_options\":{\"include_usage\":true},"));
	http_rest(&c);
	http_stream_text(&c, &text);
	ck_assert_str_eq(text.data, hello);
	ck_assert(http_has(&c, "\r\nContent-Type: text/event-stream"));
	ck_assert(http_has(&c, "\r\nCache-Control: no-cache\r\n"));
	ck_assert(http_has(&c, "\r\nX-Accel-Buffering: no\r\n"));
	ck_assert_ptr_null(strstr(strstr(c.in.data, "Cache-Control:") + 1,
	    "Cache-Control:"));	/* once */
	ck_assert(http_has(&c, "\"usage\":{\"prompt_tokens\":11,"
	    "\"completion_tokens\":10,\"total_tokens\":21,"));
	ck_assert(http_has(&c, "data: [DONE]\n\n\r\n0\r\n\r\n"));
	buf_free(&text);
	http_close(&c);
}
END_TEST

START_TEST(whole_it_says_the_same)
{
	struct http_client c;

	http_post(&c, port, chat, "", ASK("\"temperature\":0,"));
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 200);
	ck_assert(http_has(&c, "\"content\":\"Hello! How can I help you "
	    "today?\""));
	ck_assert(http_has(&c, "\"finish_reason\":\"stop\""));
	ck_assert(http_has(&c, "\"prompt_tokens\":11,"
	    "\"completion_tokens\":10,\"total_tokens\":21"));
	http_close(&c);
}
END_TEST

START_TEST(a_stop_string_and_a_limit_end_it)
{
	struct http_client c;

	http_post(&c, port, chat, "",
	    ASK("\"temperature\":0,\"stop\":\"help\","));
	http_rest(&c);
	ck_assert(http_has(&c, "\"content\":\"Hello! How can I \""));
	ck_assert(http_has(&c, "\"finish_reason\":\"stop\""));
	http_close(&c);
	http_post(&c, port, chat, "",
	    ASK("\"temperature\":0,\"max_tokens\":2,"));
	http_rest(&c);
	ck_assert(http_has(&c, "\"content\":\"Hello!\""));
	ck_assert(http_has(&c, "\"finish_reason\":\"length\""));
	http_close(&c);
}
END_TEST

START_TEST(a_prompt_beyond_the_context_is_refused)
{
	struct http_client c;
	struct buf body = { 0 };

	buf_adds(&body, "{\"model\":\"halo-demo\",\"stream\":true,"
	    "\"messages\":[{\"role\":\"user\",\"content\":\"");
	for (int i = 0; i < 3000; i++)
		buf_adds(&body, "word ");
	buf_adds(&body, "\"}]}");
	http_post(&c, port, chat, "", body.data);
	http_rest(&c);
	ck_assert_int_eq(http_status(&c), 400);
	ck_assert(http_has(&c, "\"code\":\"context_length_exceeded\""));
	ck_assert(http_has(&c, "\"n_ctx\":1024"));
	buf_free(&body);
	http_close(&c);
}
END_TEST

START_TEST(a_killed_worker_costs_a_pause_and_no_text)
{
	struct http_client c;
	struct buf whole, text;

	http_post(&c, port, chat, "", STORY);
	http_rest(&c);
	http_stream_text(&c, &whole);
	http_close(&c);
	ck_assert_uint_gt(whole.len, 500);
	http_post(&c, port, chat, "", STORY);
	http_until(&c, "\"content\":\" ");
	ck_assert_int_eq(process_end(&worker, SIGKILL, PROCESS_END_MS), 128 + SIGKILL);
	ck_assert(!http_has(&c, "[DONE]"));
	start_worker();
	http_rest(&c);
	http_stream_text(&c, &text);
	ck_assert_str_eq(text.data, whole.data);
	ck_assert(http_has(&c, "data: [DONE]"));
	ck_assert(process_logged(&gateway, "attempt=1"));
	buf_free(&whole);
	buf_free(&text);
	http_close(&c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway worker");
	TCase *t = tcase_create("gateway worker");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_unchecked_fixture(t, start, stop);
	tcase_add_test(t, the_demo_model_says_hello);
	tcase_add_test(t, whole_it_says_the_same);
	tcase_add_test(t, a_stop_string_and_a_limit_end_it);
	tcase_add_test(t, a_prompt_beyond_the_context_is_refused);
	tcase_add_test(t, a_killed_worker_costs_a_pause_and_no_text);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

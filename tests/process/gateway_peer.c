#include "gateway_peer.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake_decode.h"

const char gateway_chat[] = "/v1/chat/completions";
const char gateway_streamed[] = "{\"model\":\"fake\",\"stream\":true,\"seed\":9,"
    "\"messages\":[{\"role\":\"user\",\"content\":\"CANARY\"}]}";
const char gateway_plain[] = "{\"model\":\"fake\",\"seed\":9,"
    "\"messages\":[{\"role\":\"user\",\"content\":\"CANARY\"}]}";

struct process gateway;
char gateway_dir[64];
int gateway_port;
const char *gateway_options[3] = { "--max-streams", "2" };
static unsigned life = 1;	/* of the worker */

void
gateway_start(void)
{
	char bind[32];
	const char *args[] = { BUILD "/bin/1bit-halo-server", "--bind", bind,
		"--runtime-dir", gateway_dir, "--resume-timeout-s", "4", "--verbose",
		gateway_options[0], gateway_options[1], gateway_options[2],
		NULL };

	process_make_dir(gateway_dir);
	gateway_port = process_free_port();
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", gateway_port);
	process_start(&gateway, gateway_dir, "gateway", args);
	process_ready(&gateway);
}

void
gateway_restart_worker(bool ready)
{
	char boot[17];

	snprintf(boot, sizeof(boot), "%016x", ++life);
	fake_restart(boot, ready);
}

void
gateway_wait_status(const char *path, int status)
{
	char text[2048];
	int got = 0;

	for (int i = 0; i < PROCESS_TRIES && got != status; i++) {
		if ((got = process_get(gateway_port, path, text, sizeof(text))) !=
		    status)
			usleep(20000);
	}
	ck_assert_int_eq(got, status);
}

json_t *
gateway_begin(struct http_client *c, const char *body, char *id)
{
	json_t *g;

	http_post(c, gateway_port, gateway_chat, "", body);
	g = fake_generate();
	snprintf(id, 33, "%s",
	    json_string_value(json_object_get(g, "id")));
	return g;
}

void
gateway_check_stream(struct http_client *c, const char *text)
{
	struct buf got;

	http_rest(c);
	http_stream_text(c, &got);
	ck_assert_str_eq(got.data, text);
	ck_assert_msg(http_has(c, "data: [DONE]\n\n"), "no [DONE]: %s",
	    http_tail(c));
	ck_assert(http_has(c, "\r\n0\r\n\r\n"));
	buf_free(&got);
	http_close(c);
}

void
gateway_stop(void)
{
	ck_assert_int_eq(process_end(&gateway, SIGTERM, PROCESS_END_MS), 0);
	ck_assert_msg(!process_logged(&gateway, "CANARY"),
	    "a prompt is in the log");
	process_remove_dir(gateway_dir);
}

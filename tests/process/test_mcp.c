/*
 * 1bit-halo-mcp from outside: a process, its pipes, its port.
 */
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "buf.h"
#include "mcp_peers.h"
#include "process.h"

#define INITIALIZE "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"," \
	"\"params\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{}," \
	"\"clientInfo\":{\"name\":\"t\",\"version\":\"1\"}}}"
#define INITIALIZED "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}"
#define CALL(id, name) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":" \
	"\"tools/call\",\"params\":{\"name\":\"" name "\"}}"

static char dir[] = "/tmp/onebit-mcp-" "XX" "XX" "XX";
static int gateway_port;

static void
setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	mcp_peers_start(dir, &gateway_port);
}

static void
teardown(void)
{
	char command[64];

	mcp_peers_stop();
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* The program with up to four arguments; in, out, err: its ends, or -1. */
static pid_t
start(int in, int out, int err, const char *a, const char *b, const char *c,
    const char *d)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Root is as anybody else: a mode without rights counts. */
		prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
		prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
		if (in >= 0)
			dup2(in, 0);
		if (out >= 0)
			dup2(out, 1);
		if (err >= 0)
			dup2(err, 2);
		execl(BUILD "/bin/1bit-halo-mcp", "1bit-halo-mcp", a, b, c, d,
		    (char *)NULL);
		_exit(127);
	}
	return pid;
}

static int
exit_status(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* All that fd gives until its end or PROCESS_PATIENCE_MS of silence; NUL-terminated. */
static void
drain(int fd, struct buf *b)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char piece[4096];
	ssize_t n;

	buf_adds(b, "");
	while (poll(&p, 1, PROCESS_PATIENCE_MS) > 0 &&
	    (n = read(fd, piece, sizeof(piece))) > 0)
		buf_add(b, piece, (size_t)n);
}

/* Speak text to a program over stdio; its lines as an array. */
static json_t *
converse(const char *option, const char *value, const char *text, size_t n)
{
	int in[2], out[2];
	struct buf b = { 0 };
	json_t *lines = json_array(), *v;
	char *line, *rest;
	pid_t pid;

	ck_assert_int_eq(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
	pid = start(in[0], out[1], -1, option, value, NULL, NULL);
	close(in[0]);
	close(out[1]);
	while (n > 0) {
		ssize_t k = write(in[1], text, n);

		ck_assert_int_gt(k, 0);
		text += k;
		n -= (size_t)k;
	}
	close(in[1]);
	drain(out[0], &b);
	close(out[0]);
	ck_assert_int_eq(exit_status(pid), 0);
	for (line = strtok_r(b.data, "\n", &rest); line != NULL;
	    line = strtok_r(NULL, "\n", &rest)) {
		v = json_loads(line, 0, NULL);
		ck_assert_msg(v != NULL, "not JSON: %s", line);
		json_array_append_new(lines, v);
	}
	buf_free(&b);
	return lines;
}

/* The structured result in line i. */
static json_t *
structured(json_t *lines, size_t i)
{
	json_t *v = json_object_get(json_object_get(json_array_get(lines, i),
	    "result"), "structuredContent");

	ck_assert_msg(v != NULL, "%s", json_dumps(lines, 0));
	return v;
}

static const char *
model_id(json_t *out)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(
	    out, "models"), 0), "id"));
}

START_TEST(stdio_answers_over_the_sockets_and_ends_with_its_input)
{
	static const char text[] = INITIALIZE "\n" INITIALIZED "\r\n\n"
	    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\"}\n"
	    CALL("3", "list_models") "\n" CALL("\"four\"", "health") "\n"
	    CALL("5", "kernel_timings") "\n"
	    "this line has no end and is not answered";
	json_t *lines = converse("--runtime-dir", dir, text, sizeof(text) - 1);
	json_t *units, *kernel;

	ck_assert_uint_eq(json_array_size(lines), 5);
	ck_assert_str_eq(json_string_value(json_object_get(json_object_get(
	    json_array_get(lines, 0), "result"), "protocolVersion")),
	    "2025-06-18");
	ck_assert_str_eq(model_id(structured(lines, 2)), "halo-demo");
	units = json_object_get(structured(lines, 3), "units");
	ck_assert(json_is_true(json_object_get(json_array_get(units, 0),
	    "ready")));
	/* Nobody plays the gateway's socket: that is data. */
	ck_assert(json_is_false(json_object_get(json_array_get(units, 1),
	    "ready")));
	ck_assert_int_gt((int)json_string_length(json_object_get(json_array_get(
	    units, 1), "reason")), 0);
	kernel = json_array_get(json_object_get(structured(lines, 4),
	    "kernels"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(kernel, "name")),
	    "head");
	ck_assert(json_real_value(json_object_get(kernel,
	    "gigabytes_per_second")) == 2.0);
	json_decref(lines);
}
END_TEST

START_TEST(with_server_the_gateway_is_asked_over_http)
{
	static const char text[] = INITIALIZE "\n" CALL("2", "list_models") "\n"
	    CALL("3", "health") "\n" CALL("4", "kernel_timings") "\n";
	char url[64];
	json_t *lines, *units;

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", gateway_port);
	lines = converse("--server", url, text, sizeof(text) - 1);
	ck_assert_str_eq(model_id(structured(lines, 1)), "from-gateway");
	units = json_object_get(structured(lines, 2), "units");
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(units,
	    0), "reason")), "it sleeps");
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(units,
	    0), "since")), "2026-01-02T03:04:05Z");
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(units,
	    1), "unit")), "gateway");
	ck_assert(json_is_false(json_object_get(structured(lines, 3),
	    "available")));
	json_decref(lines);

	/* A redirect is not an answer, a closed port neither. */
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/elsewhere",
	    gateway_port);
	lines = converse("--server", url, text, sizeof(text) - 1);
	ck_assert(json_is_false(json_object_get(structured(lines, 1),
	    "available")));
	json_decref(lines);
	lines = converse("--server", "http://127.0.0.1:1", text,
	    sizeof(text) - 1);
	ck_assert(json_is_false(json_object_get(structured(lines, 1),
	    "available")));
	json_decref(lines);
}
END_TEST

START_TEST(a_line_that_is_too_long_costs_itself_and_no_other)
{
	static const char end[] = "\n" INITIALIZE "\nnonsense\n"
	    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}\n";
	size_t n = (3 << 20) + sizeof(end) - 1;
	char *text = malloc(n);
	json_t *lines;

	memset(text, '[', 3 << 20);
	memcpy(text + (3 << 20), end, sizeof(end) - 1);
	lines = converse("--runtime-dir", dir, text, n);
	ck_assert_uint_eq(json_array_size(lines), 4);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(json_integer_value(json_object_get(
		    json_object_get(json_array_get(lines, i), "error"),
		    "code")), i % 2 == 0 ? -32700 : 0);
	json_decref(lines);
	free(text);
}
END_TEST

/* Send one HTTP request and read all of the answer. */
static void
http(int port, const char *head, const char *body, struct buf *answer)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct buf b = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	buf_clear(answer);
	buf_printf(&b, "%s\r\n", head);
	if (strstr(head, "Host:") == NULL)
		buf_printf(&b, "Host: localhost:%d\r\n", port);
	if (body != NULL)
		buf_printf(&b, "Content-Length: %zu\r\n", strlen(body));
	buf_printf(&b, "\r\n%s", body != NULL ? body : "");
	buf_adds(answer, "");
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	    send(fd, b.data, b.len, MSG_NOSIGNAL) == (ssize_t)b.len)
		drain(fd, answer);
	close(fd);
	buf_free(&b);
}

static int
status_of(const struct buf *answer)
{
	return answer->len > 12 ? atoi(answer->data + 9) : 0;
}

#define POST "POST /mcp HTTP/1.1\r\nContent-Type: application/json\r\n"
#define ACCEPT "Accept: application/json, text/event-stream"
#define MODERN "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: server/discover"
#define DISCOVER "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":" \
	"\"server/discover\",\"params\":{\"_meta\":{" \
	"\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"," \
	"\"io.modelcontextprotocol/clientCapabilities\":{}}}}"

static const struct {
	const char *head, *body;
	int status;
	const char *has;	/* in the answer */
} asked[] = {
	{ POST ACCEPT, INITIALIZE, 200, "Mcp-Session-Id: " },
	{ POST "Accept: */*", INITIALIZE, 200, "\"serverInfo\"" },
	{ POST "Accept: application/json", INITIALIZE, 406, "-32000" },
	{ POST "Accept: text/event-stream", INITIALIZE, 406, "-32000" },
	{ "POST /mcp HTTP/1.1\r\nContent-Type: text/plain\r\n" ACCEPT,
	    INITIALIZE, 415, "-32000" },
	{ POST ACCEPT, "{", 400, "-32700" },
	{ POST ACCEPT, "[" INITIALIZE "]", 400, "-32600" },
	{ POST ACCEPT, CALL("1", "health"), 400, "Mcp-Session-Id" },
	{ POST ACCEPT "\r\nMcp-Session-Id: nobody", CALL("1", "health"), 404,
	    "-32001" },
	{ POST ACCEPT "\r\n" MODERN, DISCOVER, 200, "\"resultType\"" },
	{ POST ACCEPT "\r\nMCP-Protocol-Version: 2026-07-28\r\n"
	    "mcp-method: ping", DISCOVER, 400, "-32020" },
	{ POST ACCEPT "\r\nOrigin: http://evil.example", INITIALIZE, 403, "" },
	{ POST ACCEPT "\r\nOrigin: http://localhost:3000", INITIALIZE, 200, "" },
	{ POST ACCEPT "\r\nHost: evil.example", INITIALIZE, 421, "" },
	{ "GET /mcp HTTP/1.1\r\n" ACCEPT, NULL, 405, "Allow: " },
	{ "PUT /mcp HTTP/1.1\r\n" ACCEPT, "{}", 405, "Allow: " },
	{ "DELETE /mcp HTTP/1.1", NULL, 400, "-32000" },
	{ "DELETE /mcp HTTP/1.1\r\nMcp-Session-Id: nobody", NULL, 404,
	    "-32001" },
	{ "DELETE /mcp HTTP/1.1\r\nMCP-Protocol-Version: 2026-07-28", NULL, 405,
	    "Allow: " },
	{ "GET /health HTTP/1.1", NULL, 200, "{\"status\"" },
	{ "GET /livez HTTP/1.1", NULL, 200, "" },
	{ "GET /readyz HTTP/1.1", NULL, 200, "" },
	{ "GET /readyz?verbose HTTP/1.1", NULL, 200, "\"units\"" },
	{ "GET /metrics HTTP/1.1", NULL, 200, "onebit_mcp_messages_total" },
	{ "GET /mcp/ HTTP/1.1", NULL, 404, "" },
};

/* Start with --bind on a free port; fills *port once /livez answers. */
static pid_t
start_http(int *port)
{
	struct buf b = { 0 };
	char bind_to[32];
	pid_t pid;

	*port = process_free_port();
	snprintf(bind_to, sizeof(bind_to), "127.0.0.1:%d", *port);
	pid = start(-1, -1, -1, "--bind", bind_to, "--runtime-dir", dir);
	for (int ms = 0; ms < PROCESS_PATIENCE_MS; ms += 20) {
		http(*port, "GET /livez HTTP/1.1", NULL, &b);
		if (status_of(&b) == 200)
			break;
		usleep(20000);
	}
	ck_assert_int_eq(status_of(&b), 200);
	buf_free(&b);
	return pid;
}

START_TEST(http_answers_each_request_with_its_status)
{
	struct buf b = { 0 };
	int port;
	pid_t pid = start_http(&port);

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		http(port, asked[i].head, asked[i].body, &b);
		ck_assert_msg(status_of(&b) == asked[i].status,
		    "%s\n%s\n%d expected, not:\n%s", asked[i].head,
		    asked[i].body != NULL ? asked[i].body : "",
		    asked[i].status, b.data);
		ck_assert_msg(strstr(b.data, asked[i].has) != NULL,
		    "'%s' is not in:\n%s", asked[i].has, b.data);
	}
	kill(pid, SIGTERM);
	ck_assert_int_eq(exit_status(pid), 0);
	buf_free(&b);
}
END_TEST

START_TEST(a_session_serves_until_it_is_deleted)
{
	struct buf b = { 0 };
	char id[33] = "", head[512], end[128];
	const char *p;
	int port;
	pid_t pid = start_http(&port);

	http(port, POST ACCEPT, INITIALIZE, &b);
	ck_assert_ptr_nonnull(p = strstr(b.data, "Mcp-Session-Id: "));
	ck_assert_int_eq(sscanf(p, "Mcp-Session-Id: %32[0-9a-f]", id), 1);
	snprintf(head, sizeof(head), POST ACCEPT "\r\nMcp-Session-Id: %s\r\n"
	    "MCP-Protocol-Version: 2025-06-18", id);
	snprintf(end, sizeof(end), "DELETE /mcp HTTP/1.1\r\nMcp-Session-Id: %s",
	    id);
	http(port, head, INITIALIZED, &b);
	ck_assert_int_eq(status_of(&b), 202);
	http(port, head, CALL("7", "list_models"), &b);
	ck_assert_int_eq(status_of(&b), 200);
	ck_assert_ptr_nonnull(strstr(b.data, "halo-demo"));
	http(port, end, NULL, &b);
	ck_assert_int_eq(status_of(&b), 204);
	http(port, head, CALL("8", "list_models"), &b);
	ck_assert_int_eq(status_of(&b), 404);
	kill(pid, SIGTERM);
	ck_assert_int_eq(exit_status(pid), 0);
	buf_free(&b);
}
END_TEST

START_TEST(who_may_not_ask_is_told_so)
{
	static const char text[] = INITIALIZE "\n" CALL("1", "health") "\n";
	char closed[] = "/tmp/onebit-mcp-" "XX" "XX" "XX";
	const char *reason;
	json_t *lines;

	ck_assert_ptr_nonnull(mkdtemp(closed));
	ck_assert_int_eq(chmod(closed, 0), 0);
	lines = converse("--runtime-dir", closed, text, sizeof(text) - 1);
	reason = json_string_value(json_object_get(json_array_get(json_object_get(
	    structured(lines, 1), "units"), 0), "reason"));
	ck_assert_msg(strstr(reason, "decode.sock: permission denied") != NULL,
	    "%s", reason);
	json_decref(lines);
	ck_assert_int_eq(rmdir(closed), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("mcp");
	TCase *t = tcase_create("mcp");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, setup, teardown);
	tcase_add_test(t, stdio_answers_over_the_sockets_and_ends_with_its_input);
	tcase_add_test(t, who_may_not_ask_is_told_so);
	tcase_add_test(t, with_server_the_gateway_is_asked_over_http);
	tcase_add_test(t, a_line_that_is_too_long_costs_itself_and_no_other);
	tcase_add_test(t, http_answers_each_request_with_its_status);
	tcase_add_test(t, a_session_serves_until_it_is_deleted);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

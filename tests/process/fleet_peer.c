#include "fleet_peer.h"

#include <check.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct process fleet_gateway;
char fleet_dir[64];
int fleet_port;
const char *fleet_headers = "";
struct fleet_worker fleet_workers[FLEET_PEERS];

static int n_workers;
static const char *args[PROCESS_ARGS_MAX];

void
fleet_start_worker(int i)
{
	struct fleet_worker *w = &fleet_workers[i];
	char binary[128];
	const char *of_worker[] = { binary, "--model", "models/halo-demo.h1b",
		"--runtime-dir", w->dir, "--port", "0", "--threads", "1",
		"--slots", "16", w->model_id[0] != '\0' ? "--model-id" : NULL,
		w->model_id, NULL };

	snprintf(binary, sizeof(binary), BUILD "/%s", w->binary);
	process_start(&w->process, w->dir, "decode", of_worker);
	process_ready(&w->process);
	w->n_starts++;
}

void
fleet_kill(int i)
{
	ck_assert_int_eq(process_end(&fleet_workers[i].process, SIGKILL, PROCESS_END_MS),
	    128 + SIGKILL);
}

int
fleet_revive(int i)
{
	int status = process_wait(&fleet_workers[i].process,
	    PROCESS_END_MS);

	fleet_start_worker(i);
	return status;
}

static void
start_gateway(void)
{
	process_start(&fleet_gateway, fleet_dir, "gateway", args);
	process_ready(&fleet_gateway);
}

void
fleet_restart_gateway(int sig)
{
	if (sig != 0)
		process_end(&fleet_gateway, sig, PROCESS_END_MS);
	start_gateway();
}

void
fleet_start(int n, const char *binary, const char *const extra[])
{
	static char bind[32], program[] = BUILD "/bin/1bit-halo-server";
	static char paths[FLEET_PEERS][PATH_MAX];
	int k = 0;

	n_workers = n;
	process_make_dir(fleet_dir);
	fleet_port = process_free_port();
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", fleet_port);
	args[k++] = program;
	args[k++] = "--bind";
	args[k++] = bind;
	args[k++] = "--runtime-dir";
	args[k++] = fleet_dir;
	args[k++] = "--verbose";
	for (int i = 0; i < n; i++) {
		struct fleet_worker *w = &fleet_workers[i];

		w->binary = binary;
		process_make_dir(w->dir);
		ck_assert_ptr_nonnull(realpath(w->dir, paths[i]));
		fleet_start_worker(i);
		args[k++] = "--upstream";
		args[k++] = paths[i];
	}
	while (extra != NULL && *extra != NULL)
		args[k++] = *extra++;
	args[k] = NULL;
	start_gateway();
	fleet_wait("/readyz", 200);
}

void
fleet_stop(void)
{
	ck_assert_int_eq(process_end(&fleet_gateway, SIGTERM, PROCESS_END_MS), 0);
	for (int i = 0; i < n_workers; i++) {
		ck_assert_int_eq(process_end(&fleet_workers[i].process, SIGTERM,
		    PROCESS_END_MS), 0);
		process_remove_dir(fleet_workers[i].dir);
	}
	process_remove_dir(fleet_dir);
}

void
fleet_wait(const char *path, int status)
{
	char text[4096];
	int got = 0;

	for (int i = 0; i < PROCESS_TRIES && got != status; i++)
		if ((got = process_get(fleet_port, path, text, sizeof(text))) !=
		    status)
			usleep(20000);
	ck_assert_int_eq(got, status);
}

void
fleet_ask(struct http_client *c, const char *members, const char *message)
{
	char body[1024];

	snprintf(body, sizeof(body), "{%s%s'messages':[{'role':'user',"
	    "'content':'%s'}]}", members, members[0] != '\0' ? "," : "",
	    message);
	for (char *s = body; *s != '\0'; s++)
		*s = *s == '\'' ? '"' : *s;
	http_post(c, fleet_port, "/v1/chat/completions", fleet_headers,
	    body);
}

char *
fleet_text(struct http_client *c)
{
	struct buf text;

	http_rest(c);
	ck_assert_msg(http_has(c, "data: [DONE]\n\n"), "no [DONE]: %s",
	    http_tail(c));
	ck_assert(http_has(c, "\r\n0\r\n\r\n"));
	http_stream_text(c, &text);
	http_close(c);
	return text.data;
}

double
fleet_metric(const char *name)
{
	struct http_client c;
	double sum = 0;
	size_t n = strlen(name);

	http_get(&c, fleet_port, "/metrics", fleet_headers);
	http_rest(&c);
	for (const char *s = c.in.data; (s = strstr(s, name)) != NULL; s += n)
		if (s[-1] == '\n' && (s[n] == ' ' || s[n] == '{'))
			sum += strtod(strchr(s, ' '), NULL);
	http_close(&c);
	return sum;
}

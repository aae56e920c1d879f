#include "stack.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct process stack_gateway, stack_worker;
char stack_dir[64];
int stack_port;

static char keys_path[128];
static const char *worker_line[PROCESS_ARGS_MAX];

void
stack_keys(const char *text)
{
	FILE *fp;

	if (stack_dir[0] == '\0')
		process_make_dir(stack_dir);
	snprintf(keys_path, sizeof(keys_path), "%s/keys", stack_dir);
	fp = fopen(keys_path, "w");
	ck_assert_ptr_nonnull(fp);
	fputs(text, fp);
	fclose(fp);
}

const char *
stack_keys_path(void)
{
	return keys_path;
}

static int
append(const char **line, int n, const char *const args[])
{
	for (int i = 0; args != NULL && args[i] != NULL; i++) {
		ck_assert_int_lt(n, PROCESS_ARGS_MAX - 1);
		line[n++] = args[i];
	}
	line[n] = NULL;
	return n;
}

void
stack_start_worker(void)
{
	process_start(&stack_worker, stack_dir, "decode", worker_line);
	process_ready(&stack_worker);
}

void
stack_start(const char *const gateway_args[], const char *const worker_args[])
{
	static char bind[32], number[16];
	const char *const worker[] = { BUILD "/bin/bitnet_decode", "--model",
		"models/halo-demo.h1b", "--threads", "1", "--runtime-dir",
		stack_dir, "--port", number, NULL };
	const char *const gateway[] = { BUILD "/bin/1bit-halo-server", "--bind",
		bind, "--runtime-dir", stack_dir, NULL };
	const char *line[PROCESS_ARGS_MAX];
	char text[2048];

	if (stack_dir[0] == '\0')
		process_make_dir(stack_dir);
	stack_port = process_free_port();
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", stack_port);
	snprintf(number, sizeof(number), "%d", process_free_port());
	append(worker_line, append(worker_line, 0, worker), worker_args);
	stack_start_worker();
	append(line, append(line, 0, gateway), gateway_args);
	process_start(&stack_gateway, stack_dir, "gateway", line);
	process_ready(&stack_gateway);
	for (int i = 0; i < PROCESS_TRIES && process_get(stack_port, "/readyz", text,
	    sizeof(text)) != 200; i++)
		usleep(20000);
	ck_assert_int_eq(process_get(stack_port, "/readyz", text,
	    sizeof(text)), 200);
}

void
stack_stop(void)
{
	ck_assert_int_eq(process_end(&stack_gateway, SIGTERM, PROCESS_END_MS), 0);
	ck_assert_int_eq(process_end(&stack_worker, SIGTERM, PROCESS_END_MS), 0);
	process_remove_dir(stack_dir);
	stack_dir[0] = '\0';
}

void
stack_abandon(void)
{
	process_abandon(&stack_gateway);
	process_abandon(&stack_worker);
}

static void
send_it(struct http_client *c, const char *key, const char *method,
    const char *path, const char *headers, const char *body)
{
	struct buf lines = { 0 };

	if (key != NULL)
		buf_printf(&lines, "Authorization: Bearer %s\r\n", key);
	buf_adds(&lines, headers);
	http_send(c, stack_port, method, path, lines.data != NULL ?
	    lines.data : "", body);
	buf_free(&lines);
	http_rest(c);
}

void
stack_post(struct http_client *c, const char *key, const char *path,
    const char *headers, const char *body)
{
	send_it(c, key, "POST", path, headers, body);
}

void
stack_get(struct http_client *c, const char *key, const char *path)
{
	send_it(c, key, "GET", path, "", "");
}

void
stack_delete(struct http_client *c, const char *key, const char *path)
{
	send_it(c, key, "DELETE", path, "", "");
}

bool
stack_header(const struct http_client *c, const char *name, char *out,
    size_t n)
{
	const char *line = c->in.data, *end = strstr(line, "\r\n\r\n");
	size_t n_name = strlen(name);

	while ((line = strstr(line, "\r\n")) != NULL && line < end) {
		line += 2;
		if (strncasecmp(line, name, n_name) == 0 &&
		    strncmp(line + n_name, ": ", 2) == 0) {
			line += n_name + 2;
			snprintf(out, n, "%.*s", (int)strcspn(line, "\r"),
			    line);
			return true;
		}
	}
	return false;
}

json_t *
stack_json(const struct http_client *c)
{
	const char *body = strstr(c->in.data, "\r\n\r\n");
	json_t *v = body == NULL ? NULL : json_loads(body + 4, 0, NULL);

	ck_assert_msg(v != NULL, "not JSON: %s", c->in.data);
	return v;
}

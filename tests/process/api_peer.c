#include "api_peer.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"

static struct process gateway, worker;
static char dir[64];
int api_port;

void
api_start(void)
{
	char bind[32], number[16], text[1024];
	const char *g[] = { BUILD "/bin/1bit-halo-server", "--bind", bind,
		"--runtime-dir", dir, NULL };
	const char *w[] = { BUILD "/bin/bitnet_decode", "--model",
		"models/halo-demo.h1b", "--port", number, "--runtime-dir", dir,
		"--threads", "1", NULL };

	process_make_dir(dir);
	api_port = process_free_port();
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", api_port);
	snprintf(number, sizeof(number), "%d", process_free_port());
	process_start(&gateway, dir, "gateway", g);
	process_ready(&gateway);
	process_start(&worker, dir, "decode", w);
	process_ready(&worker);
	for (int i = 0; i < PROCESS_TRIES && process_get(api_port, "/readyz", text,
	    sizeof(text)) != 200; i++)
		usleep(20000);
	ck_assert_int_eq(process_get(api_port, "/readyz", text, sizeof(text)), 200);
}

void
api_stop(void)
{
	ck_assert_int_eq(process_end(&gateway, SIGTERM, PROCESS_END_MS), 0);
	ck_assert_int_eq(process_end(&worker, SIGTERM, PROCESS_END_MS), 0);
	process_remove_dir(dir);
}

static json_t *
body_of(struct http_client *c)
{
	const char *body;
	json_t *v;

	http_rest(c);
	body = strstr(c->in.data, "\r\n\r\n");
	ck_assert_ptr_nonnull(body);
	v = json_loads(body + 4, 0, NULL);
	ck_assert_msg(v != NULL, "no JSON: %s", c->in.data);
	return v;
}

/* Ask, expecting status; the answer, to be released. */
json_t *
api_ask(const char *path, int status, const char *body)
{
	struct http_client c;
	json_t *v;

	http_post(&c, api_port, path, "", body);
	v = body_of(&c);
	ck_assert_msg(http_status(&c) == status, "%s: %s", body, c.in.data);
	http_close(&c);
	return v;
}

json_t *
api_get(const char *path, int status)
{
	struct http_client c;
	json_t *v;

	http_get(&c, api_port, path, "");
	v = body_of(&c);
	ck_assert_int_eq(http_status(&c), status);
	http_close(&c);
	return v;
}

/* The member that path ("choices.0.text") leads to; borrowed. */
json_t *
api_at(json_t *v, const char *path)
{
	char part[64];

	while (*path != '\0') {
		size_t n = strcspn(path, ".");

		snprintf(part, sizeof(part), "%.*s", (int)n, path);
		v = json_is_array(v) ? json_array_get(v,
		    (size_t)strtoul(part, NULL, 10)) : json_object_get(v, part);
		path += n + (path[n] == '.');
	}
	return v;
}

const char *
api_text(json_t *v, const char *path)
{
	const char *s = json_string_value(api_at(v, path));

	ck_assert_msg(s != NULL, "no text at %s: %s", path,
	    json_dumps(v, 0));
	return s;
}

int64_t
api_int(json_t *v, const char *path)
{
	ck_assert_msg(json_is_integer(api_at(v, path)), "no number at %s", path);
	return json_integer_value(api_at(v, path));
}

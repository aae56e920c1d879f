#include "http_client.h"

#include <arpa/inet.h>
#include <check.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "process.h"

enum { TAIL = 2000 };		/* bytes */

static void
start(struct http_client *c, int port, const struct buf *request)
{
	struct sockaddr_in at = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct timeval limit = { .tv_sec = PROCESS_PATIENCE_MS / 1000 };

	*c = (struct http_client){
		.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
	};
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(send(c->fd, request->data, request->len,
	    MSG_NOSIGNAL), (ssize_t)request->len);
}

void
http_send(struct http_client *c, int port, const char *method,
    const char *path, const char *headers, const char *body)
{
	struct buf b = { 0 };

	buf_printf(&b, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s", method,
	    path, port, headers);
	if (body[0] != '\0')
		buf_printf(&b, "Content-Type: application/json\r\n"
		    "Content-Length: %zu\r\n", strlen(body));
	buf_printf(&b, "\r\n%s", body);
	start(c, port, &b);
	buf_free(&b);
}

void
http_post(struct http_client *c, int port, const char *path,
    const char *headers, const char *body)
{
	http_send(c, port, "POST", path, headers, body);
}

void
http_get(struct http_client *c, int port, const char *path,
    const char *headers)
{
	http_send(c, port, "GET", path, headers, "");
}

const char *
http_tail(const struct http_client *c)
{
	if (c->in.data == NULL)
		return "nothing";
	return c->in.data + (c->in.len > TAIL ? c->in.len - TAIL : 0);
}

static ssize_t
read_more(struct http_client *c)
{
	char part[4096];
	ssize_t n = recv(c->fd, part, sizeof(part), 0);

	ck_assert_msg(n >= 0, "no answer in time; so far: %s",
	    http_tail(c));
	buf_add(&c->in, part, (size_t)n);
	return n;
}

bool
http_has(const struct http_client *c, const char *text)
{
	return c->in.data != NULL && strstr(c->in.data, text) != NULL;
}

void
http_until(struct http_client *c, const char *text)
{
	while (!http_has(c, text))
		ck_assert_msg(read_more(c) > 0, "ended without '%s': %s", text,
		    http_tail(c));
}

bool
http_more(struct http_client *c)
{
	return read_more(c) > 0;
}

void
http_rest(struct http_client *c)
{
	while (read_more(c) > 0)
		;
}

int
http_status(const struct http_client *c)
{
	int status = 0;

	if (c->in.data != NULL)
		sscanf(c->in.data, "HTTP/1.%*d %d", &status);
	return status;
}

void
http_stream_text(const struct http_client *c, struct buf *out)
{
	const char *line = c->in.data, *end;

	*out = (struct buf){ 0 };
	buf_adds(out, "");
	for (; line != NULL && (end = strchr(line, '\n')) != NULL;
	    line = end + 1) {
		json_t *v, *choice;
		const char *text;

		if (strncmp(line, "data: {", 7) != 0)
			continue;
		v = json_loadb(line + 6, (size_t)(end - line - 6), 0, NULL);
		ck_assert_ptr_nonnull(v);
		choice = json_array_get(json_object_get(v, "choices"), 0);
		text = json_string_value(json_object_get(json_object_get(choice,
		    "delta"), "content"));
		if (text == NULL)
			text = json_string_value(json_object_get(choice, "text"));
		if (text != NULL)
			buf_adds(out, text);
		json_decref(v);
	}
}

void
http_close(struct http_client *c)
{
	close(c->fd);
	buf_free(&c->in);
}

#ifndef TESTS_WEB_CLIENT_H
#define TESTS_WEB_CLIENT_H

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A client that says what a test wants to the byte.  Static functions, because
 * every file in this directory is a program.
 */
enum { CLIENT_PATIENCE_MS = 20000 };	/* only a hung server uses it up */

struct response {
	char text[65536];	/* head and body as they came, NUL-terminated */
	size_t n;
	int status;		/* 0: closed without an answer */
	const char *body;	/* in text, "" if there is none */
	bool reset;		/* closed by RST */
};

static inline int
client_connect(int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
	    0);
	return fd;
}

/* Did the server take it all?  It need not. */
static inline bool
client_send(int fd, const void *bytes, size_t n)
{
	const char *p = bytes;
	ssize_t k;

	while (n > 0 && (k = send(fd, p, n, MSG_NOSIGNAL)) > 0) {
		p += k;
		n -= (size_t)k;
	}
	return n == 0;
}

/* Read to the end of the connection and close it. */
static inline void
client_finish(int fd, struct response *r)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	const char *end;
	ssize_t k = 0;

	memset(r, 0, sizeof(*r));
	while (r->n < sizeof(r->text) - 1) {
		ck_assert_msg(poll(&p, 1, CLIENT_PATIENCE_MS) == 1,
		    "no answer and no end");
		k = recv(fd, r->text + r->n, sizeof(r->text) - 1 - r->n, 0);
		if (k <= 0)
			break;
		r->n += (size_t)k;
	}
	close(fd);
	r->reset = k < 0;
	if (r->n > 12 && strncmp(r->text, "HTTP/1.1 ", 9) == 0)
		r->status = atoi(r->text + 9);
	end = strstr(r->text, "\r\n\r\n");
	r->body = end == NULL ? "" : end + 4;
}

/* Send all, say that this was all, read the answer. */
static inline void
client_ask(int port, const void *bytes, size_t n, struct response *r)
{
	int fd = client_connect(port);

	client_send(fd, bytes, n);
	shutdown(fd, SHUT_WR);
	client_finish(fd, r);
}

static inline void
client_asks(int port, const char *text, struct response *r)
{
	client_ask(port, text, strlen(text), r);
}

/* Value of a header of the answer into out [1024]; false if absent. */
static inline bool
response_header(const struct response *r, const char *name, char *out)
{
	const char *end = strstr(r->text, "\r\n\r\n"), *p = r->text;
	size_t n = strlen(name), len;

	while (end != NULL && (p = strstr(p, "\r\n")) != NULL && p < end) {
		p += 2;
		if (strncasecmp(p, name, n) != 0 || p[n] != ':')
			continue;
		p += n + 1 + strspn(p + n + 1, " ");
		len = strcspn(p, "\r");
		ck_assert_uint_lt(len, 1024);
		memcpy(out, p, len);
		out[len] = '\0';
		return true;
	}
	return false;
}

static inline int
count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = -1;		/* dir itself */

	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

#endif

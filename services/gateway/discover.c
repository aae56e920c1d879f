/*
 * An http:// upstream is asked once where its sockets are.  They are Unix
 * sockets, so it is on this machine, and a loopback address is all that makes
 * sense; nothing else is connected to and no name is looked up.  One GET of
 * HTTP/1.0, which has no chunks and ends with the connection, needs no library
 * (libcurl alone would bring 30 others and 5 MB).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "discover.h"
#include "json.h"

enum { ANSWER_MAX = 16384, TIMEOUT_MS = 2000, PORT_DEFAULT = 8080 };

int
discover_address(const char *url, struct sockaddr_in *at, struct err *e)
{
	static const char scheme[] = "http://";
	char host[16], rest[8] = "";
	int port = PORT_DEFAULT, n = 0;
	const char *s = url + sizeof(scheme) - 1;

	*at = (struct sockaddr_in){ .sin_family = AF_INET };
	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0 ||
	    sscanf(s, "%15[0-9a-z.]%n", host, &n) != 1)
		return err_set(e, ERR_RANGE,
		    "upstream '%s' is not http://ADDRESS:PORT", url);
	s += n;
	if (*s == ':' && (sscanf(s, ":%5d%n", &port, &n) != 1 || port < 1 ||
	    port > 65535))
		return err_set(e, ERR_RANGE, "upstream '%s' has no port", url);
	snprintf(rest, sizeof(rest), "%s", *s == ':' ? s + n : s);
	if (rest[0] != '\0' && strcmp(rest, "/") != 0)
		return err_set(e, ERR_RANGE,
		    "upstream '%s' has a path, which is fixed", url);
	if (strcmp(host, "localhost") == 0)
		strcpy(host, "127.0.0.1");
	if (inet_pton(AF_INET, host, &at->sin_addr) != 1 ||
	    ntohl(at->sin_addr.s_addr) >> 24 != 127)
		return err_set(e, ERR_RANGE, "upstream '%s' is not on this "
		    "machine (127.0.0.1 or localhost), but its sockets are",
		    url);
	at->sin_port = htons((uint16_t)port);
	return 0;
}

/* Everything until the other side closes, in TIMEOUT_MS. */
static int
exchange(int fd, struct buf *in)
{
	static const char ask[] = "GET /v1/endpoints HTTP/1.0\r\n"
	    "Host: localhost\r\n\r\n";
	int64_t until = clock_ms() + TIMEOUT_MS;
	char part[1024];
	ssize_t n;

	if (send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) !=
	    (ssize_t)sizeof(ask) - 1)
		return -1;
	while ((n = recv(fd, part, sizeof(part), 0)) > 0) {
		buf_add(in, part, (size_t)n);
		if (in->failed || in->len > ANSWER_MAX || clock_ms() > until)
			return -1;
	}
	return n < 0 || in->len == 0 ? -1 : 0;
}

static int
get(const char *url, struct buf *in, struct err *e)
{
	struct timeval limit = { .tv_sec = TIMEOUT_MS / 1000 };
	struct sockaddr_in at;
	int fd, r;

	if ((r = discover_address(url, &at, e)) != 0)
		return r;
	if ((fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return err_set(e, ERR_SYSTEM, "socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		r = err_set(e, ERR_UNAVAILABLE, "the worker at %s does not "
		    "answer: %s", url, strerror(errno));
	else if (exchange(fd, in) != 0)
		r = err_set(e, ERR_UNAVAILABLE, "the worker at %s breaks off",
		    url);
	close(fd);
	return r;
}

int
discover_parse(const char *answer, size_t n, char *dir, size_t size,
    struct err *e)
{
	const char *body = memmem(answer, n, "\r\n\r\n", 4), *found;
	json_t *v = NULL;
	int r;

	if (n < 12 || memcmp(answer, "HTTP/1.", 7) != 0 || body == NULL)
		return err_set(e, ERR_BAD_MESSAGE, "it does not speak HTTP");
	if (memcmp(answer + 8, " 200", 4) != 0)
		return err_set(e, ERR_UNAVAILABLE, "it answers%.4s, not 200",
		    answer + 8);
	body += 4;
	if ((r = json_guarded(body, n - (size_t)(body - answer), &v, e)) != 0)
		return r;
	found = json_string_value(json_object_get(v, "runtime_dir"));
	if (found == NULL || strlen(found) >= size)
		r = err_set(e, ERR_BAD_MESSAGE, "it names no runtime directory");
	else if (found[0] != '/')
		r = err_set(e, ERR_BAD_MESSAGE, "its --runtime-dir is a "
		    "relative path, which means nothing here");
	else
		strcpy(dir, found);
	json_decref(v);
	return r;
}

int
discover(const char *url, char *dir, size_t size, struct err *e)
{
	struct buf in = { 0 };
	struct err why;
	int r;

	if ((r = get(url, &in, e)) == 0 && (r = discover_parse(in.data, in.len,
	    dir, size, &why)) != 0)
		err_set(e, why.code, "the worker at %.64s: %s", url, why.text);
	buf_free(&in);
	return r;
}

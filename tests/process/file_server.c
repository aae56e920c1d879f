#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "file_server.h"
#include "process.h"

enum { FILES_MAX = 32, PIECE = 4096, HEAD_MAX = 8192 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct served files[FILES_MAX];
static size_t n_files, n_sent;
static int n_requests;
static struct buf seen;		/* the heads of all requests */

char
file_server_byte(size_t i, char salt)
{
	return (char)((i * 2654435761u >> 16) + i / 251 + (size_t)salt);
}

static bool
put(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t k = send(fd, data, n, MSG_NOSIGNAL);

		if (k <= 0)
			return false;
		data += k;
		n -= (size_t)k;
	}
	return true;
}

/* Bytes from..to of the body. */
static bool
put_body(int fd, const struct served *f, size_t from, size_t to)
{
	char piece[PIECE];
	bool good = true;

	while (good && from < to) {
		size_t n = to - from < sizeof(piece) ? to - from :
		    sizeof(piece);

		for (size_t i = 0; i < n; i++)
			piece[i] = f->text == NULL ?
			    file_server_byte(from + i, f->salt) :
			    f->text[from + i];
		good = put(fd, piece, n);
		from += n;
		pthread_mutex_lock(&lock);
		n_sent += n;
		pthread_mutex_unlock(&lock);
	}
	return good;
}

/* The value of a header, or NULL; ends with its line. */
static const char *
header(const char *head, const char *name)
{
	const char *p = strcasestr(head, name);

	return p != NULL ? p + strlen(name) : NULL;
}

/* Where the range asked for begins, 0: the whole. */
static size_t
range_of(const char *head, const struct served *f)
{
	const char *range = header(head, "\r\nRange: bytes=");
	const char *if_range = header(head, "\r\nIf-Range: ");

	if (range == NULL || f->how == SERVE_WHOLE)
		return 0;
	if (if_range != NULL && f->how != SERVE_SPLICED &&
	    (f->etag == NULL || strncmp(if_range, f->etag,
	    strlen(f->etag)) != 0))
		return 0;
	return strtoul(range, NULL, 10);
}

static void
put_head(int fd, const struct served *f, size_t from)
{
	char out[1024];
	size_t shift = f->how == SERVE_SHIFTED ? 1 : 0;
	int n;

	if (from == 0)
		n = snprintf(out, sizeof(out), "HTTP/1.1 200 OK\r\n");
	else
		n = snprintf(out, sizeof(out), "HTTP/1.1 206 Partial Content\r\n"
		    "Content-Range: bytes %zu-%zu/%zu\r\n", from + shift,
		    f->n - 1, f->n);
	if (f->how == SERVE_CHUNKED)
		n += snprintf(out + n, sizeof(out) - (size_t)n,
		    "Transfer-Encoding: chunked\r\n");
	else if (f->how != SERVE_UNMEASURED)
		n += snprintf(out + n, sizeof(out) - (size_t)n,
		    "Content-Length: %zu\r\n", f->n - from - (from > 0 ? shift :
		    0));
	if (f->etag != NULL)
		n += snprintf(out + n, sizeof(out) - (size_t)n, "ETag: %s\r\n",
		    f->etag);
	n += snprintf(out + n, sizeof(out) - (size_t)n,
	    "Connection: close\r\n\r\n");
	put(fd, out, (size_t)n);
}

/* Until they close it. */
static void
wait_gone(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;

	while (poll(&p, 1, PROCESS_PATIENCE_MS) == 1 && recv(fd, &byte, 1, 0) > 0)
		;
}

static void
answer_file(int fd, const struct served *f, const char *head)
{
	size_t from = range_of(head, f), to = f->n;
	char out[64];

	if (from >= f->n && f->n > 0) {
		int n = snprintf(out, sizeof(out), "HTTP/1.1 416 No\r\n"
		    "Content-Range: bytes */%zu\r\n", f->n);

		put(fd, out, (size_t)n);
		put(fd, "Content-Length: 0\r\n\r\n", 21);
		return;
	}
	put_head(fd, f, from);
	if (f->how == SERVE_CHUNKED) {
		int n = snprintf(out, sizeof(out), "%zx\r\n", f->n - from);

		put(fd, out, (size_t)n);
		put_body(fd, f, from, f->n);
		put(fd, "\r\n0\r\n\r\n", 7);
		return;
	}
	if (f->how == SERVE_CUT || f->how == SERVE_STALL)
		to = f->cut > from ? f->cut : from;
	put_body(fd, f, from, to);
	if (f->how == SERVE_OVERLONG)
		put(fd, "and more", 8);
	if (f->how == SERVE_STALL)
		wait_gone(fd);
}

static void
answer(int fd, struct served *f, const char *head)
{
	char out[1024];
	int n;

	if (f == NULL || f->how == SERVE_STATUS) {
		n = snprintf(out, sizeof(out), "HTTP/1.1 %d Status\r\n"
		    "Content-Length: 5\r\n\r\nsorry", f == NULL ? 404 :
		    f->status);
		put(fd, out, (size_t)n);
	} else if (f->how == SERVE_REDIRECT) {
		n = snprintf(out, sizeof(out), "HTTP/1.1 302 There\r\n"
		    "Location: %s\r\nContent-Length: 0\r\n\r\n", f->text);
		put(fd, out, (size_t)n);
	} else
		answer_file(fd, f, head);
}

/* The file that is asked for, as it is served this time. */
static bool
choose(const char *head, struct served *out)
{
	bool found = false;

	pthread_mutex_lock(&lock);
	n_requests++;
	buf_adds(&seen, head);
	for (size_t i = 0; i < n_files && !found; i++) {
		size_t n = strlen(files[i].path);

		if (strncmp(head, "GET ", 4) != 0 ||
		    strncmp(head + 4, files[i].path, n) != 0 ||
		    head[4 + n] != ' ')
			continue;
		found = true;
		*out = files[i];
		if (files[i].times > 0 && --files[i].times == 0)
			files[i].how = SERVE_WELL;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

static void *
serve(void *arg)
{
	int listener = *(int *)arg;
	static char head[HEAD_MAX];

	for (;;) {
		struct served f;
		size_t n = 0;
		ssize_t k;
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			return NULL;
		do {
			k = recv(fd, head + n, sizeof(head) - 1 - n, 0);
			n += k > 0 ? (size_t)k : 0;
			head[n] = '\0';
		} while (k > 0 && strstr(head, "\r\n\r\n") == NULL);
		if (k > 0) {
			bool found = choose(head, &f);

			answer(fd, found ? &f : NULL, head);
			shutdown(fd, SHUT_WR);
		}
		close(fd);
	}
}

void
file_server_start(int *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	static int listener;
	pthread_t thread;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, n), 0);
	ck_assert_int_eq(listen(listener, 16), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &n), 0);
	*port = ntohs(at.sin_port);
	ck_assert_int_eq(pthread_create(&thread, NULL, serve, &listener), 0);
	pthread_detach(thread);
}

void
file_server_serve(const struct served *list, size_t n)
{
	ck_assert_uint_le(n, FILES_MAX);
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < n; i++) {
		files[i] = list[i];
		if (files[i].n == 0 && files[i].text != NULL)
			files[i].n = strlen(files[i].text);
	}
	n_files = n;
	n_requests = 0;
	n_sent = 0;
	buf_clear(&seen);
	pthread_mutex_unlock(&lock);
}

int
file_server_requests(void)
{
	int n;

	pthread_mutex_lock(&lock);
	n = n_requests;
	pthread_mutex_unlock(&lock);
	return n;
}

bool
file_server_saw(const char *line)
{
	bool saw;

	pthread_mutex_lock(&lock);
	saw = seen.data != NULL && strstr(seen.data, line) != NULL;
	pthread_mutex_unlock(&lock);
	return saw;
}

void
file_server_wait_sent(size_t n)
{
	int64_t end = clock_ms() + PROCESS_PATIENCE_MS;
	size_t sent = 0;

	while (sent < n && clock_ms() < end) {
		usleep(5000);
		pthread_mutex_lock(&lock);
		sent = n_sent;
		pthread_mutex_unlock(&lock);
	}
	ck_assert_uint_ge(sent, n);
}

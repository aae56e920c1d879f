#include "hostile.h"

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"

enum { HEAD_MAX = 2048 };

static const char folder[] = "tests/data/hostile";
static const char chat_head[] = "{\"model\":\"m\",\"messages\":"
    "[{\"role\":\"user\",\"content\":\"x\"}]";
static const char completion_head[] = "{\"model\":\"m\",\"prompt\":\"x\"";

/* One escape at *p, which is moved past it. */
static void
add_escape(struct buf *out, const char **p)
{
	static const char names[] = "rnt0\\\"", bytes[] = "\r\n\t\0\\\"";
	const char *at = strchr(names, *++*p);
	char byte;

	if (**p == 'x') {
		byte = (char)strtol((char[]){ (*p)[1], (*p)[2], '\0' }, NULL, 16);
		*p += 3;
	} else {
		ck_assert_msg(at != NULL && **p != '\0', "a bad escape: %s", *p);
		byte = bytes[at - names];
		++*p;
	}
	buf_add(out, &byte, 1);
}

/* The table's notation as bytes, see requests.txt; until end. */
static void
expand(struct buf *out, const char *p, const char *end)
{
	while (p < end) {
		if (*p == '\\') {
			add_escape(out, &p);
		} else if (*p != '%') {
			buf_add(out, p++, 1);
		} else if (p[1] == '%') {
			buf_adds(out, "%");
			p += 2;
		} else if (p[1] == 'H') {
			buf_adds(out, "Host: localhost\r\n");
			p += 2;
		} else {
			char *text;
			long n = strtol(p + 2, &text, 10);
			const char *close = strchr(text, ')');
			struct buf one = { 0 };

			ck_assert_msg(p[1] == '(' && *text == ',' && close != NULL &&
			    close < end, "not %%(N,TEXT): %s", p);
			expand(&one, text + 1, close);
			while (n-- > 0)
				buf_add(out, one.data, one.len);
			buf_free(&one);
			p = close + 1;
		}
	}
	ck_assert(!out->failed);
}

static struct buf *
add(struct hostiles *h, const char *file, int line, int status)
{
	h->all = realloc(h->all, (h->n + 1) * sizeof(*h->all));
	ck_assert_ptr_nonnull(h->all);
	h->all[h->n] = (struct hostile){ .file = file, .line = line, .status = status };
	return &h->all[h->n++].bytes;
}

static void
add_post(struct hostiles *h, const char *file, int line, int status, bool chat,
    const struct buf *body)
{
	struct buf *out = add(h, file, line, status);

	buf_printf(out, "POST /v1/%scompletions HTTP/1.1\r\nHost: localhost\r\n"
	    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
	    chat ? "chat/" : "", body->len);
	buf_add(out, body->data, body->len);
	ck_assert(!out->failed);
}

static void
add_line(struct hostiles *h, const char *file, int line, char *text)
{
	char *tab = strchr(text, '\t');
	struct buf body = { 0 };

	ck_assert_msg(tab != NULL, "%s:%d has no tab", file, line);
	if (strcmp(file, "requests.txt") == 0) {
		expand(add(h, file, line, atoi(text)), tab + 1, tab + strlen(tab));
		return;
	}
	expand(&body, tab + 1, tab + strlen(tab));
	add_post(h, file, line, atoi(text), true, &body);
	buf_free(&body);
}

/* kind, name, status and values. */
static void
add_members(struct hostiles *h, const char *file, int line, char *text)
{
	char *rest = text, *kind = strsep(&rest, "\t"), *name = strsep(&rest, "\t");
	char *status = strsep(&rest, "\t"), *value;
	bool chat = strcmp(kind, "chat") == 0;

	ck_assert_msg(rest != NULL, "%s:%d has no value", file, line);
	while ((value = strsep(&rest, "\t")) != NULL) {
		struct buf body = { 0 };

		/* A name given twice is refused for that. */
		if (strcmp(name, "prompt") == 0)
			buf_adds(&body, "{\"model\":\"m\"");
		else
			buf_adds(&body, chat ? chat_head : completion_head);
		buf_printf(&body, ",\"%s\":", name);
		expand(&body, value, value + strlen(value));
		buf_adds(&body, "}");
		add_post(h, file, line, atoi(status), chat, &body);
		buf_free(&body);
	}
}

void
hostile_load(struct hostiles *h)
{
	static const char *const files[] = { "requests.txt", "chats.txt", "members.txt" };
	char path[128], *text = NULL;
	size_t size = 0;
	ssize_t n;

	*h = (struct hostiles){ 0 };
	for (size_t i = 0; i < 3; i++) {
		FILE *f;
		int line = 0;

		snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
		ck_assert_msg((f = fopen(path, "r")) != NULL, "%s", path);
		while ((n = getline(&text, &size, f)) > 0) {
			line++;
			text[n - 1] = '\0';
			if (text[0] == '#')
				continue;
			if (i == 2)
				add_members(h, files[i], line, text);
			else
				add_line(h, files[i], line, text);
		}
		fclose(f);
	}
	free(text);
}

void
hostile_free(struct hostiles *h)
{
	while (h->n > 0)
		buf_free(&h->all[--h->n].bytes);
	free(h->all);
}

int
hostile_connect(int port, int room)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ne(fd, -1);
	if (room > 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* What is said in each header of an answer, so nothing that a request said is. */
static void
check_head(const char *head, const char *end)
{
	static const char *const known[] = { "Date", "Connection", "x-request-id",
		"X-Content-Type-Options", "Content-Type", "Content-Length", "Vary",
		"Access-Control-", "WWW-Authenticate", "Allow", "Retry-After",
		"retry-after-ms", "x-should-retry", "x-ratelimit-", "x-1bit-",
		"openai-", "Cache-Control", "X-Accel-Buffering", "Transfer-Encoding" };

	for (const char *line = strstr(head, "\r\n") + 2; line < end;
	    line = strstr(line, "\r\n") + 2) {
		bool is_known = false;

		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			is_known = is_known ||
			    strncmp(line, known[i], strlen(known[i])) == 0;
		ck_assert_msg(is_known, "an unknown header: %.*s",
		    (int)strcspn(line, "\r"), line);
	}
}

int
hostile_ask(int port, const void *bytes, size_t n)
{
	struct pollfd p = { .fd = hostile_connect(port, 0), .events = POLLIN | POLLOUT };
	char head[HEAD_MAX + 1], rest[2048], *end;
	const char *out = bytes;
	size_t n_head = 0;
	ssize_t k = 1;
	int status = 0;

	/* It may answer before all is sent, and must not be waited for then. */
	while (k > 0) {
		ck_assert_msg(poll(&p, 1, PROCESS_PATIENCE_MS) > 0, "neither answer nor end");
		if (p.revents & POLLIN) {
			k = n_head < HEAD_MAX ?
			    recv(p.fd, head + n_head, HEAD_MAX - n_head, 0) :
			    recv(p.fd, rest, sizeof(rest), 0);
			if (k > 0 && n_head < HEAD_MAX)
				n_head += (size_t)k;
		} else if (p.revents & POLLOUT) {
			ssize_t sent = send(p.fd, out, n, MSG_NOSIGNAL | MSG_DONTWAIT);

			if (sent > 0) {
				out += sent;
				n -= (size_t)sent;
			}
			if (n == 0 || (sent == -1 && errno != EAGAIN)) {
				shutdown(p.fd, SHUT_WR);
				p.events = POLLIN;
			}
		} else {
			break;		/* POLLERR, POLLHUP */
		}
	}
	close(p.fd);
	head[n_head] = '\0';
	if (n_head == 0)
		return 0;
	ck_assert_msg(sscanf(head, "HTTP/1.1 %d ", &status) == 1, "no HTTP: %s", head);
	ck_assert_msg((end = strstr(head, "\r\n\r\n")) != NULL, "no head: %s", head);
	check_head(head, end);
	return status;
}

/* xorshift64 */
static unsigned
next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (unsigned)(*seed >> 32);
}

size_t
hostile_damage(char *text, size_t n, size_t room, uint64_t *seed)
{
	static const char spice[] = "\0\r\n \t:/%?*;,{}[]\"\\0129aAfFzZ\x7f\x80\xff";
	unsigned times = 1 + next_random(seed) % 4;

	for (; times > 0 && n > 2; times--) {
		size_t i = next_random(seed) % n, k = 1 + next_random(seed) % 8;

		switch (next_random(seed) % 5) {
		case 0:
			text[i] = spice[next_random(seed) % sizeof(spice)];
			break;
		case 1:
			text[i] = (char)next_random(seed);
			break;
		case 2:			/* leave some out */
			if (i + k < n) {
				memmove(text + i, text + i + k, n - i - k);
				n -= k;
			}
			break;
		case 3:			/* say some twice */
			if (i + k < n && n + k < room) {
				memmove(text + i + k, text + i, n - i);
				n += k;
			}
			break;
		default:		/* stop early */
			n = next_random(seed) % 8 == 0 ? i + 1 : n;
		}
	}
	return n;
}

int
hostile_fds(pid_t pid)
{
	char path[64];
	DIR *dir;
	int n = -2;		/* . and .. */

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	ck_assert_ptr_nonnull(dir = opendir(path));
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

int64_t
hostile_rss_kb(pid_t pid)
{
	char path[64], line[256];
	long long kb = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	ck_assert_ptr_nonnull(f = fopen(path, "r"));
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "VmRSS: %lld", &kb) == 1)
			break;
	fclose(f);
	return kb;
}

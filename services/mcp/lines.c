/*
 * read(2) into one buffer of the largest message.  A line that does not fit is
 * skipped to its end and answered once, so that the client's next message is
 * understood again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lines.h"

struct lines {
	struct dispatch *d;
	int out;
	struct peer peer;
	char *buf;		/* RPC_MESSAGE_MAX + 1 bytes: one for '\n' */
	size_t n;		/* bytes in buf that no line has ended yet */
	bool skipping;		/* inside a line that did not fit */
};

static int
write_all(int fd, const char *p, size_t n, struct err *e)
{
	while (n > 0) {
		ssize_t k = write(fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_set(e, ERR_SYSTEM, "stdout: %s",
			    strerror(errno));
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

/* body is taken; NULL: nothing is to be said. */
static int
say(struct lines *l, json_t *body, struct err *e)
{
	char *text;
	int r;

	if (body == NULL)
		return 0;
	text = json_dumps(body, JSON_COMPACT);	/* holds no newline */
	json_decref(body);
	if (text == NULL)
		return err_set(e, ERR_NO_MEMORY, "memory is short");
	if ((r = write_all(l->out, text, strlen(text), e)) == 0)
		r = write_all(l->out, "\n", 1, e);
	free(text);
	return r;
}

static int
on_line(struct lines *l, const char *line, size_t n, struct err *e)
{
	struct answer a;

	if (n > 0 && line[n - 1] == '\r')
		n--;
	if (n == 0)
		return 0;
	dispatch(l->d, &l->peer, line, n, &a);
	if (a.opened)
		l->peer.session = PEER_OPEN;
	return say(l, a.body, e);
}

/* Hand on the lines that buf holds and keep the rest. */
static int
split(struct lines *l, struct err *e)
{
	char *line = l->buf, *end;
	int r;

	while ((end = memchr(line, '\n', l->n)) != NULL) {
		size_t n = (size_t)(end - line);

		if (!l->skipping && (r = on_line(l, line, n, e)) != 0)
			return r;
		l->skipping = false;
		line = end + 1;
		l->n -= n + 1;
	}
	memmove(l->buf, line, l->n);
	if (l->n <= RPC_MESSAGE_MAX)
		return 0;
	l->n = 0;
	if (l->skipping)
		return 0;
	l->skipping = true;
	return say(l, dispatch_refusal(RPC_PARSE, "the line is too long"), e);
}

static int
serve(struct lines *l, int in, struct err *e)
{
	for (;;) {
		ssize_t k = read(in, l->buf + l->n, RPC_MESSAGE_MAX + 1 - l->n);
		int r;

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return err_set(e, ERR_SYSTEM, "stdin: %s",
			    strerror(errno));
		if (k == 0)	/* what has no newline was not sent whole */
			return 0;
		l->n += (size_t)k;
		if ((r = split(l, e)) != 0)
			return r;
	}
}

int
lines_serve(struct dispatch *d, int in, int out, struct err *e)
{
	struct lines l = { .d = d, .out = out };
	int r;

	if ((l.buf = malloc(RPC_MESSAGE_MAX + 1)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "memory is short");
	r = serve(&l, in, e);
	free(l.buf);
	return r;
}

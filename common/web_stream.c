#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "web_priv.h"

/*
 * Every piece is one chunk and one write.  Chunks rather than the end of the
 * connection, because only so a client can tell an answer that was cut from
 * one that is complete.  HTTP/1.0 has no chunks: there the pieces are bare.
 */

void
web_stream_begin(struct web_request *rq, int status, const char *content_type)
{
	struct buf out = { 0 };

	if (rq->answer != WEB_UNANSWERED)
		return;
	rq->answer = WEB_STREAMING;
	rq->status = status;
	web_write_head(rq, status, content_type, &out);
	buf_adds(&out, "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n");
	if (!rq->old)
		buf_adds(&out, "Transfer-Encoding: chunked\r\n");
	buf_adds(&out, "\r\n");
	if (out.failed)
		rq->broken = true;
	else
		web_conn_write(rq, out.data, out.len);
	buf_free(&out);
	web_conn_fd(rq);
}

/* What web_stream_try left. */
static bool
write_rest(struct web_request *rq)
{
	bool ok = rq->rest.len == 0 ||
	    web_conn_write(rq, rq->rest.data, rq->rest.len);

	buf_clear(&rq->rest);
	return ok;
}

bool
web_stream_write(struct web_request *rq, const void *data, size_t n)
{
	struct buf out = { 0 };
	bool ok;

	if (rq->answer != WEB_STREAMING || rq->broken || rq->web->ending)
		return false;
	if (!write_rest(rq))
		return false;
	if (n == 0 || rq->head_only)
		return true;
	if (rq->old)
		return web_conn_write(rq, data, n);
	buf_printf(&out, "%zx\r\n", n);
	buf_add(&out, data, n);
	buf_adds(&out, "\r\n");
	/* After half a chunk nothing that is sent would be understood. */
	if (out.failed)
		rq->broken = true;
	ok = !out.failed && web_conn_write(rq, out.data, out.len);
	buf_free(&out);
	return ok;
}

/* The line before a chunk of n bytes, at the end of line [18]; where it begins.  printf
 * takes as long as all the rest that is done for a token but to send it. */
static char *
chunk_line(char *line, size_t n)
{
	char *at = line + 16;

	memcpy(at, "\r\n", 2);
	do
		*--at = "0123456789abcdef"[n & 15];
	while ((n >>= 4) > 0);
	return at;
}

bool
web_stream_try(struct web_request *rq, const void *data, size_t n)
{
	char line[18], *at = chunk_line(line, n);
	struct iovec v[3] = { { at, (size_t)(line + sizeof(line) - at) },
		{ (void *)(uintptr_t)data, n }, { "\r\n", 2 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 3 };
	ssize_t sent;

	if (rq->answer != WEB_STREAMING || rq->broken || rq->web->ending || rq->old ||
	    rq->head_only || rq->rest.len > 0 || rq->fd == -1 || n == 0)
		return false;
	sent = sendmsg(rq->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent <= 0)
		return false;
	rq->bytes_out += (uint64_t)sent;
	for (int i = 0; i < 3; i++) {
		size_t taken = (size_t)sent < v[i].iov_len ? (size_t)sent : v[i].iov_len;

		buf_add(&rq->rest, (char *)v[i].iov_base + taken, v[i].iov_len - taken);
		sent -= (ssize_t)taken;
	}
	if (rq->rest.failed)
		rq->broken = true;	/* half a chunk was sent */
	return true;
}

void
web_stream_end(struct web_request *rq, bool complete)
{
	if (rq->answer != WEB_STREAMING)
		return;
	rq->answer = WEB_ANSWERED;
	if (!rq->broken && !rq->web->ending)
		write_rest(rq);
	if (complete && !rq->old && !rq->head_only)
		web_conn_write(rq, "0\r\n\r\n", 5);
}

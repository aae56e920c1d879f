#include <stdio.h>
#include <string.h>

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
}

bool
web_stream_write(struct web_request *rq, const void *data, size_t n)
{
	struct buf out = { 0 };
	bool ok;

	if (rq->answer != WEB_STREAMING || rq->broken || rq->web->ending)
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

void
web_stream_end(struct web_request *rq, bool complete)
{
	if (rq->answer != WEB_STREAMING)
		return;
	rq->answer = WEB_ANSWERED;
	if (complete && !rq->old && !rq->head_only)
		web_conn_write(rq, "0\r\n\r\n", 5);
}

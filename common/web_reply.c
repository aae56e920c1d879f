#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "clock.h"
#include "web_priv.h"

/*
 * Status line, headers and a small body leave in one write.  Nothing of the
 * request gets into a header but an Origin and a request id that passed
 * web_check.c: CivetWeb's own pages would reflect raw bytes.
 */
enum { WITH_HEAD_MAX = 16 << 10, RETRY_MS = 1000, RETRY_MS_MAX = 60000 };

static const char exposed[] =
    "x-request-id, retry-after, retry-after-ms, x-should-retry, "
    "x-1bit-session, x-1bit-session-state, x-1bit-cached-tokens, "
    "x-ratelimit-limit-requests, x-ratelimit-limit-tokens, "
    "x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, "
    "x-ratelimit-reset-requests, x-ratelimit-reset-tokens, "
    "openai-processing-ms, mcp-session-id, mcp-protocol-version";

static void
add_date(struct buf *out)
{
	time_t now = time(NULL);
	struct tm tm;
	char text[40];

	if (gmtime_r(&now, &tm) != NULL &&
	    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0)
		buf_printf(out, "Date: %s\r\n", text);
}

void
web_write_head(struct web_request *rq, int status, const char *content_type,
    struct buf *out)
{
	buf_printf(out, "HTTP/1.1 %d %s\r\n", status,
	    mg_get_response_code_text(rq->conn, status));
	add_date(out);
	buf_printf(out, "Connection: close\r\nx-request-id: %s\r\n"
	    "X-Content-Type-Options: nosniff\r\n", rq->id);
	if (content_type != NULL)
		buf_printf(out, "Content-Type: %s\r\n", content_type);
	if (rq->web->c->processing_ms)
		buf_printf(out, "openai-processing-ms: %lld\r\n",
		    (long long)(clock_ns() - rq->start_ns) / 1000000);
	if (rq->cors)
		buf_printf(out, "Access-Control-Allow-Origin: %s\r\n"
		    "Vary: Origin\r\nAccess-Control-Expose-Headers: %s\r\n",
		    rq->origin, exposed);
	if (rq->headers.len > 0)
		buf_add(out, rq->headers.data, rq->headers.len);
	if (rq->headers.failed)
		out->failed = true;
}

/* The line of h that sets name, or NULL; *n is its length. */
static char *
find_line(const struct buf *h, const char *name, size_t *n)
{
	size_t n_name = strlen(name);
	char *line = h->data, *end = h->data + h->len;

	for (; line < end; line += *n) {
		*n = (size_t)((char *)memchr(line, '\n', (size_t)(end - line)) +
		    1 - line);
		if (strncasecmp(line, name, n_name) == 0 &&
		    line[n_name] == ':')
			return line;
	}
	return NULL;
}

void
web_set_header(struct web_request *rq, const char *name, const char *value)
{
	struct buf *h = &rq->headers;
	size_t n = 0;
	char *line;

	/* A line break here would be a second header of somebody's choice. */
	if (rq->answer != WEB_UNANSWERED || !web_check_value(value))
		return;
	if (h->len > 0 && (line = find_line(h, name, &n)) != NULL) {
		memmove(line, line + n, h->len - (size_t)(line - h->data) - n);
		h->len -= n;
	}
	buf_printf(h, "%s: %s\r\n", name, value);
}

void
web_reply(struct web_request *rq, int status, const char *content_type,
    const void *data, size_t n)
{
	static const char no_memory[] = "HTTP/1.1 500 Internal Server Error\r\n"
	    "Connection: close\r\nContent-Length: 0\r\n\r\n";
	bool bodiless = status == 204 || status == 304;
	struct buf out = { 0 };

	if (rq->answer != WEB_UNANSWERED)
		return;
	rq->answer = WEB_ANSWERED;
	rq->status = status;
	web_write_head(rq, status, content_type, &out);
	if (!bodiless)
		buf_printf(&out, "Content-Length: %zu\r\n", n);
	buf_adds(&out, "\r\n");
	if (bodiless || rq->head_only)
		n = 0;
	if (n > 0 && n <= WITH_HEAD_MAX) {
		buf_add(&out, data, n);
		n = 0;
	}
	if (out.failed) {
		rq->status = 500;
		web_conn_write(rq, no_memory, sizeof(no_memory) - 1);
	} else if (web_conn_write(rq, out.data, out.len) && n > 0)
		web_conn_write(rq, data, n);
	buf_free(&out);
}

void
web_reply_json(struct web_request *rq, int status, json_t *v)
{
	/* 15 digits: a float that was read as 0.7 is written as 0.7. */
	char *text = v == NULL ? NULL :
	    json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY |
	    JSON_REAL_PRECISION(15));

	json_decref(v);
	if (text == NULL) {
		web_reply_error(rq, 500, "server_error", "no_memory", NULL,
		    "the answer could not be made");
		return;
	}
	web_reply(rq, status, "application/json", text, strlen(text));
	free(text);
}

/* A JSON string of text; of its ASCII part if that is not UTF-8; or null. */
static json_t *
string_or_null(const char *text)
{
	json_t *v = text == NULL ? json_null() : json_string(text);
	char ascii[256];
	size_t i;

	if (v != NULL)
		return v;
	for (i = 0; text[i] != '\0' && i < sizeof(ascii) - 1; i++)
		ascii[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
	ascii[i] = '\0';
	return json_string(ascii);
}

static json_t *
error_json(const char *type, const char *code, const char *param,
    const char *message)
{
	return json_pack("{s:{s:o, s:o, s:o, s:o}}", "error",
	    "message", string_or_null(message), "type", string_or_null(type),
	    "param", string_or_null(param), "code", string_or_null(code));
}

json_t *
web_error_json(const struct err *e)
{
	json_t *v = error_json(err_type(e->code), err_tag(e->code),
	    e->param[0] == '\0' ? NULL : e->param, e->text);
	json_t *error = json_object_get(v, "error");

	if (e->code == ERR_CONTEXT) {
		json_object_set_new(error, "n_prompt_tokens",
		    json_integer(e->n_prompt_tokens));
		json_object_set_new(error, "n_ctx", json_integer(e->n_ctx));
	}
	return v;
}

/* What OpenAI's clients obey; they ignore more than 60 s. */
static void
set_retry(struct web_request *rq, int status, int64_t ms)
{
	char text[24];

	if (status != 429 && status != 503 && ms <= 0)
		return;
	if (ms <= 0)
		ms = RETRY_MS;
	if (ms > RETRY_MS_MAX)
		ms = RETRY_MS_MAX;
	snprintf(text, sizeof(text), "%d", (int)((ms + 999) / 1000));
	web_set_header(rq, "Retry-After", text);
	snprintf(text, sizeof(text), "%d", (int)ms);
	web_set_header(rq, "retry-after-ms", text);
}

/* For clients that retry by the status alone; NULL: that is right. */
static const char *
should_retry(int status, const struct err *e)
{
	if (e->code == ERR_CRASHED || e->code == ERR_SESSION_BUSY)
		return "false";	/* it would crash again; it asked not to wait */
	if (e->code == ERR_EXISTS && e->retry_after_ms <= 0)
		return "false";	/* it will still be there */
	if (status != 429 && status != 503 && e->retry_after_ms <= 0)
		return NULL;
	return e->retry_after_ms > RETRY_MS_MAX ? "false" : "true";
}

void
web_reply_err(struct web_request *rq, const struct err *e)
{
	int status = err_http_status(e->code);
	const char *retry = should_retry(status, e);

	set_retry(rq, status, e->retry_after_ms);
	if (retry != NULL)
		web_set_header(rq, "x-should-retry", retry);
	web_reply_json(rq, status, web_error_json(e));
}

void
web_reply_error(struct web_request *rq, int status, const char *type,
    const char *code, const char *param, const char *message)
{
	static const char fixed[] = "{\"error\":{\"message\":\"memory is "
	    "short\",\"type\":\"server_error\",\"param\":null,"
	    "\"code\":\"no_memory\"}}";
	json_t *v = error_json(type, code, param, message);

	if (v == NULL) {
		web_reply(rq, 500, "application/json", fixed,
		    sizeof(fixed) - 1);
		return;
	}
	set_retry(rq, status, 0);
	web_reply_json(rq, status, v);
}

void
web_refuse(struct web_request *rq, const struct web_refusal *r)
{
	web_reply_error(rq, r->status, r->type, r->code, NULL, r->message);
}

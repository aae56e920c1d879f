#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "clock.h"
#include "json.h"
#include "web_priv.h"

#define INVALID "invalid_request_error"

static const struct web_refusal too_large = { 413, INVALID, "body_too_large",
	"the body is larger than this route takes" };
static const struct web_refusal too_slow = { 408, "timeout_error",
	"request_timeout", "the body did not arrive in time" };
static const struct web_refusal cut_short = { 400, INVALID, "bad_request",
	"the body ended early or is not valid chunked encoding" };
static const struct web_refusal no_memory = { 500, "server_error",
	"no_memory", "memory is short" };
static const struct web_refusal not_json = { 415, INVALID,
	"unsupported_media_type", "the body must be JSON: send "
	"Content-Type: application/json and no Content-Encoding" };

const char *
web_method(const struct web_request *rq)
{
	return rq->info->request_method;
}

const char *
web_path(const struct web_request *rq)
{
	return rq->info->local_uri_raw;
}

const char *
web_path_tail(const struct web_request *rq)
{
	return rq->tail;
}

const char *
web_query(const struct web_request *rq)
{
	return rq->info->query_string == NULL ? "" : rq->info->query_string;
}

bool
web_query_get(const struct web_request *rq, const char *name, char *out,
    size_t n)
{
	if (web_find_query(web_query(rq), name, out, n))
		return true;
	out[0] = '\0';
	return web_has_query(web_query(rq), name);
}

const char *
web_header(const struct web_request *rq, const char *name)
{
	return web_find_header(rq->info->http_headers, rq->info->num_headers,
	    name);
}

const char *
web_request_id(const struct web_request *rq)
{
	return rq->id;
}

const char *
web_traceparent(const struct web_request *rq)
{
	const char *value = web_header(rq, "traceparent");

	return value != NULL && web_check_traceparent(value) ? value : NULL;
}

/*
 * When the next `want` bytes must be here: a fifth of the time may pass freely,
 * then 1 KiB/s is the least, the whole has its limit, and silence has one.
 */
static int64_t
piece_deadline(const struct web *w, int64_t start_ms, size_t got, size_t want)
{
	int64_t idle = w->body_ms * 2 / 5;
	int64_t total = start_ms + w->body_ms;
	int64_t rate = start_ms + w->body_ms / 5 +
	    (int64_t)(got + want) * 1000 / 1024;

	idle = clock_ms() + (idle < WEB_IDLE_MS ? idle : WEB_IDLE_MS);
	if (rate < total)
		total = rate;
	return idle < total ? idle : total;
}

/* Read until the end; NULL, or why not. */
static const struct web_refusal *
read_all(struct web_request *rq, size_t max)
{
	int64_t start_ms = clock_ms();
	size_t want;
	char piece[4096];
	int r;

	while (rq->chunked || (int64_t)rq->body.len < rq->length) {
		/* Small at first: mg_read returns when it has everything. */
		want = rq->body.len < 65536 ? 1024 : sizeof(piece);
		if (!rq->chunked && rq->length - (int64_t)rq->body.len <
		    (int64_t)want)
			want = (size_t)(rq->length - (int64_t)rq->body.len);
		r = web_conn_read(rq, piece, want,
		    piece_deadline(rq->web, start_ms, rq->body.len, want));
		if (r < 0)
			return rq->cut ? &too_slow : &cut_short;
		if (r == 0)
			return rq->chunked ? NULL : &too_slow;
		if ((size_t)r > max - rq->body.len)
			return &too_large;
		buf_add(&rq->body, piece, (size_t)r);
		if (rq->body.failed)
			return &no_memory;
	}
	return NULL;
}

int
web_read_body(struct web_request *rq)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	const struct web_refusal *why = NULL;
	size_t max = rq->route->body_max;

	if (rq->body_read)
		return 0;
	if (rq->answer != WEB_UNANSWERED)
		return ERR_BAD_MESSAGE;		/* it failed before */
	if (rq->length > (int64_t)max)
		why = &too_large;
	else if (web_header(rq, "Expect") != NULL && !rq->old &&
	    (rq->length > 0 || rq->chunked))
		web_conn_write(rq, go_on, sizeof(go_on) - 1);
	if (why == NULL)
		why = read_all(rq, max);
	if (why != NULL) {
		web_refuse(rq, why);
		return ERR_BAD_MESSAGE;
	}
	rq->body_read = true;
	return 0;
}

const char *
web_bearer(const struct web_request *rq)
{
	return rq->bearer;
}

void
web_set_who(struct web_request *rq, const char *name)
{
	snprintf(rq->who, sizeof(rq->who), "%s", name);
}

int
web_body(struct web_request *rq, const char **data, size_t *n)
{
	int r = web_read_body(rq);

	if (r != 0)
		return r;
	*data = rq->body.data == NULL ? "" : rq->body.data;
	*n = rq->body.len;
	return 0;
}

int
web_body_json(struct web_request *rq, json_t **v)
{
	const char *coding = web_header(rq, "Content-Encoding");
	enum web_media media = web_check_media(web_header(rq, "Content-Type"));
	const char *text;
	struct err e;
	size_t n;
	int r;

	if (media == WEB_MEDIA_OTHER ||
	    (coding != NULL && strcasecmp(coding, "identity") != 0)) {
		web_refuse(rq, &not_json);
		return ERR_BAD_MESSAGE;
	}
	r = web_body(rq, &text, &n);
	if (r != 0)
		return r;
	r = json_guarded(text, n, v, &e);
	if (r == 0)
		return 0;
	/* curl -d calls everything a form; what looks like JSON was meant so. */
	text += strspn(text, " \t\r\n");
	if (media == WEB_MEDIA_MAYBE && *text != '{' && *text != '[')
		web_refuse(rq, &not_json);
	else if (r == ERR_BAD_MESSAGE)
		web_reply_error(rq, 400, INVALID, "invalid_json", NULL, e.text);
	else
		web_reply_err(rq, &e);
	return r;
}

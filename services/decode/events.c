#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "events.h"

enum { ROOM = DECODE_UNACKED_MAX + 1 };	/* and one for a finish alone */

int
events_init(struct events *ev, int64_t first, int n_logprobs, struct err *e)
{
	*ev = (struct events){
		.v = calloc(ROOM, sizeof(*ev->v)),
		.first = first, .origin = first, .published = first,
		.n_logprobs = n_logprobs,
	};
	if (n_logprobs > 0)
		ev->logprobs = calloc((size_t)ROOM * (size_t)n_logprobs,
		    sizeof(*ev->logprobs));
	if (ev->v == NULL || (n_logprobs > 0 && ev->logprobs == NULL)) {
		events_finish(ev);
		return err_set(e, ERR_NO_MEMORY, "no memory for the pieces");
	}
	return 0;
}

void
events_finish(struct events *ev)
{
	free(ev->v);
	free(ev->logprobs);
	buf_free(&ev->text);
	*ev = (struct events){ 0 };
}

struct sampler_logprob *
events_begin(struct events *ev, int32_t token)
{
	ev->v[ev->n].token = token;
	if (ev->n_logprobs == 0 || token < 0)
		return NULL;
	return ev->logprobs + (size_t)ev->n * (size_t)ev->n_logprobs;
}

void
events_end(struct events *ev)
{
	ev->v[ev->n++].end = ev->text.len;
}

int64_t
events_next(const struct events *ev)
{
	return ev->first + ev->n;
}

bool
events_full(const struct events *ev)
{
	return ev->n >= DECODE_UNACKED_MAX;
}

void
events_ack(struct events *ev, int64_t seq)
{
	int64_t drop64 = seq - ev->first;
	size_t n_text, per = (size_t)ev->n_logprobs;
	int drop;

	if (drop64 <= 0 || ev->n == 0)
		return;
	drop = drop64 < ev->n ? (int)drop64 : ev->n;
	n_text = ev->v[drop - 1].end;
	ev->n -= drop;
	ev->first += drop;
	memmove(ev->v, ev->v + drop, (size_t)ev->n * sizeof(*ev->v));
	for (int i = 0; i < ev->n; i++)
		ev->v[i].end -= n_text;
	if (per > 0)
		memmove(ev->logprobs, ev->logprobs + (size_t)drop * per,
		    (size_t)ev->n * per * sizeof(*ev->logprobs));
	if (n_text > 0) {
		memmove(ev->text.data, ev->text.data + n_text,
		    ev->text.len - n_text + 1);
		ev->text.len -= n_text;
	}
}

/* The bytes of a token may be a part of a character, hence base64. */
static json_t *
bytes_json(const char *bytes, size_t n)
{
	struct buf b = { 0 };
	json_t *v;

	base64_encode(bytes, n, &b);
	v = b.failed ? NULL : json_stringn(b.len > 0 ? b.data : "", b.len);
	buf_free(&b);
	return v;
}

/* Of some vocabularies these are control tokens, and yet who reads the text has
 * to see where thoughts begin and end. */
static bool
is_thought_mark(const char *bytes, size_t n)
{
	return (n == 7 && memcmp(bytes, "<think>", 7) == 0) ||
	    (n == 8 && memcmp(bytes, "</think>", 8) == 0);
}

bool
events_shows(const struct tokenizer *t, int32_t token)
{
	size_t n = 0;
	const char *bytes = tokenizer_bytes(t, token, &n);

	return bytes != NULL && (!tokenizer_is_special(t, token) ||
	    is_thought_mark(bytes, n));
}

/* skip: bytes of it that are in no text. */
static json_t *
encode_logprob(const struct sampler_logprob *lp, const struct tokenizer *t, size_t skip)
{
	size_t n = 0;
	const char *bytes = tokenizer_bytes(t, lp->id, &n);

	return json_pack("{s:i, s:f, s:o}", "id", (int)lp->id,
	    "logprob", (double)lp->logprob, "text_b64",
	    bytes == NULL ? bytes_json("", 0) : bytes_json(bytes + skip, n - skip));
}

/* The same of a token that is there, with the alternatives of top. */
static json_t *
encode_own(const struct sampler_logprob *lp, const struct tokenizer *t, size_t skip,
    json_t *top)
{
	json_t *v = encode_logprob(lp, t, skip);

	json_object_set_new(v, "top", top);
	if (!events_shows(t, lp->id))
		json_object_set_new(v, "special", json_true());
	return v;
}

/* [] or the one element that the piece i has. */
static json_t *
encode_logprobs(const struct events *ev, int i, const struct tokenizer *t)
{
	json_t *array = json_array(), *top;
	const struct sampler_logprob *lp;

	if (ev->n_logprobs == 0 || ev->v[i].token < 0)
		return array;
	lp = ev->logprobs + (size_t)i * (size_t)ev->n_logprobs;
	top = json_array();
	for (int k = 1; k < ev->n_logprobs; k++)
		json_array_append_new(top, encode_logprob(&lp[k], t, 0));
	json_array_append_new(array, encode_own(lp, t, 0, top));
	return array;
}

/* Does the first token of a text begin with a blank that a text has not? */
static bool
has_added_blank(const struct tokenizer *t, int32_t token)
{
	size_t n = 0;
	const char *bytes = tokenizer_bytes(t, token, &n);

	return tokenizer_adds_blank(t) && n > 0 && bytes[0] == ' ';
}

/* One element for each token of the prompt. */
static json_t *
encode_scores(const struct events *ev, const struct events_outcome *out,
    const struct tokenizer *t)
{
	json_t *array = json_array();
	bool begun = false;

	for (int64_t i = 0; i < out->n_prompt; i++) {
		const struct sampler_logprob *lp = out->scores + i *
		    ev->n_logprobs;
		bool begins = !begun && events_shows(t, lp->id);
		json_t *own, *top = json_array();

		for (int k = 1; k < ev->n_logprobs && i > 0; k++)
			json_array_append_new(top, encode_logprob(&lp[k], t, 0));
		own = encode_own(lp, t, begins && has_added_blank(t, lp->id), top);
		begun = begun || begins;
		if (i == 0)	/* nothing is before it */
			json_object_del(own, "logprob");
		json_array_append_new(array, own);
	}
	return array;
}

/* first: it has begun; last: and ended. */
static json_t *
encode_stats(const struct events_outcome *out, bool first, bool last)
{
	json_t *v = json_object();

	if (first || last)
		json_object_update_new(v, json_pack("{s:I, s:I, s:f, s:f}",
		    "n_prompt", (json_int_t)out->n_prompt,
		    "n_cached", (json_int_t)out->n_cached,
		    "queue_ms", out->queue_ms, "prefill_ms",
		    out->prefill_ms));
	if (last)
		json_object_update_new(v, json_pack("{s:I, s:I, s:I, s:f}",
		    "n_generated", (json_int_t)out->n_generated,
		    "n_drafted", (json_int_t)out->n_drafted,
		    "n_accepted", (json_int_t)out->n_accepted,
		    "decode_ms", out->decode_ms));
	return v;
}

int
events_encode(const struct events *ev, const char *id, int64_t seq, int max,
    const struct events_outcome *out, const struct tokenizer *t, json_t *array,
    int64_t *next, struct err *e)
{
	for (*next = seq; *next < events_next(ev) && max > 0; (*next)++, max--) {
		int i = (int)(*next - ev->first);
		size_t from = i > 0 ? ev->v[i - 1].end : 0;
		bool last = out->finish != NULL && i == ev->n - 1;
		json_t *v = json_pack("{s:s, s:I, s:[], s:s%, s:o, s:s, s:o}",
		    "id", id, "seq", (json_int_t)*next, "tokens",
		    "text", ev->text.len > 0 ? ev->text.data + from : "",
		    ev->v[i].end - from,
		    "logprobs", encode_logprobs(ev, i, t),
		    "finish", last ? out->finish : "",
		    "stats", encode_stats(out, *next == ev->origin, last));

		if (v != NULL && ev->v[i].token >= 0)
			json_array_append_new(json_object_get(v, "tokens"),
			    json_integer(ev->v[i].token));
		if (v != NULL && *next == ev->origin && out->scores != NULL)
			json_object_set_new(v, "prompt_logprobs",
			    encode_scores(ev, out, t));
		if (v != NULL && last && out->vector != NULL)
			json_object_set_new(v, "vector",
			    json_string(out->vector));
		if (json_array_append_new(array, v) != 0)
			return err_set(e, ERR_NO_MEMORY,
			    "no memory to send the pieces");
	}
	return 0;
}

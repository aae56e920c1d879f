/*
 * A stream is taken up by its id, which each of its chunks has.  If it still runs,
 * its old connection is told to let go; that may be about to notice itself.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "clock.h"

enum { LET_GO_MS = 3000, LOOK_MS = 20 };

struct asked {
	char id[sizeof(((struct openai_answer *)0)->id)];
	size_t from;
	int index;
};

static int
number(struct web_request *rq, const char *name, long max, long *out,
    struct err *e)
{
	char text[16], *end;

	*out = 0;
	if (!web_query_get(rq, name, text, sizeof(text)))
		return 0;
	*out = strtol(text, &end, 10);
	if (end == text || *end != '\0' || *out < 0 || *out > max)
		return err_set_param(e, ERR_RANGE, name,
		    "'%s' is not a number from 0 to %ld", name, max);
	return 0;
}

static int
parse(struct web_request *rq, struct asked *a, struct err *e)
{
	long from, index;
	int r;

	if (!web_query_get(rq, "id", a->id, sizeof(a->id)) ||
	    a->id[0] == '\0')
		return err_set_param(e, ERR_RANGE, "id",
		    "'id' is to be the id of a stream's chunks");
	if ((r = number(rq, "from", 1L << 30, &from, e)) != 0 ||
	    (r = number(rq, "index", 127, &index, e)) != 0)
		return r;
	a->from = (size_t)from;
	a->index = (int)index;
	return 0;
}

static int
unknown(struct err *e)
{
	return err_set_param(e, ERR_NOT_FOUND, "id",
	    "there is no stream of that id to be taken up");
}

static int
still_written(struct err *e)
{
	err_set_param(e, ERR_EXISTS, "id", "this stream is still being written to "
	    "another connection");
	e->retry_after_ms = 1000;
	return ERR_EXISTS;
}

/* mine: says that it is on its way to another connection, which may take a while. */
static int
find(struct gateway *gw, const struct asked *a, const struct caller *caller,
    struct parked_running *mine, struct parked_stream **s, struct err *e)
{
	int64_t until = clock_ms() + LET_GO_MS;
	bool runs = true;

	while (runs && clock_ms() < until) {
		runs = parked_want(&gw->parked, a->id, a->index,
		    caller->owner);
		*s = parked_take(&gw->parked, a->id, a->index, caller->owner,
		    clock_ms(), mine);
		if (*s != NULL)
			return 0;
		if (runs)
			usleep(LOOK_MS * 1000);
	}
	return runs ? still_written(e) : unknown(e);
}

/* All answers of a, also those that run: they are kept when they have let go. */
static int
drop(struct gateway *gw, const struct asked *a, const struct caller *caller,
    struct err *e)
{
	int64_t until = clock_ms() + LET_GO_MS;
	bool runs = true, any = false;

	while (runs && clock_ms() < until) {
		runs = parked_want(&gw->parked, a->id, -1, caller->owner);
		any = parked_drop(&gw->parked, a->id, caller->owner) || runs || any;
		if (runs)
			usleep(LOOK_MS * 1000);
	}
	if (runs)
		return still_written(e);
	return any ? 0 : unknown(e);
}

void
route_stream(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	struct caller caller;
	struct parked_running mine = { 0 };
	struct parked_stream *s;
	struct asked a;
	struct err e;
	int r;

	if ((r = caller_begin(gw, rq, NULL, &caller, &e)) == 0 &&
	    (r = parse(rq, &a, &e)) == 0) {
		mine = (struct parked_running){ .id = a.id,
			.index = a.index, .owner = caller.owner };
		r = find(gw, &a, &caller, &mine, &s, &e);
	}
	if (r != 0) {
		web_reply_err(rq, &e);
		return;
	}
	answer_resume(gw, rq, &caller, s, a.from);
	parked_end(&gw->parked, &mine);
}

void
route_stream_delete(struct web_request *rq, void *arg)
{
	struct gateway *gw = arg;
	struct caller caller;
	struct asked a;
	struct err e;

	if (caller_begin(gw, rq, NULL, &caller, &e) != 0 ||
	    parse(rq, &a, &e) != 0 || drop(gw, &a, &caller, &e) != 0) {
		web_reply_err(rq, &e);
	} else {
		web_reply_json(rq, 200, json_pack("{s:s, s:s, s:b}", "id", a.id,
		    "object", "stream", "deleted", 1));
	}
}

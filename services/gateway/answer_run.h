#ifndef GATEWAY_ANSWER_RUN_H
#define GATEWAY_ANSWER_RUN_H

#include "answer.h"
#include "openai.h"
#include "openai_text.h"
#include "parked.h"
#include "reasoning.h"

/*
 * What answer.c (admission), answer_stream.c and answer_whole.c share: one
 * request of a client and the requests at the worker that it became.  All of it
 * belongs to the connection's thread.
 */
enum { ANSWER_WAIT_MS = 500 };	/* then a ping; a client that left is noticed */

/* One of the answers, shown or not. */
struct choice {
	struct openai_choice shown;
	size_t prompt;			/* which one it answers */
	struct upstream_request *up;	/* NULL: over; owned */
	struct reasoning reasoning;
	struct buf said, thought;	/* a stream: of one piece */
	json_t *logprobs;		/* whole: of all its pieces; owned */
	double logprob;			/* sum of its tokens' */
	int64_t n_tokens, first_ns;	/* so far; 0: none yet */
	struct openai_usage usage;
	const char *finish;		/* NULL until it ended well; static */
	struct upstream_progress told;	/* to the client */
	struct openai_text event;	/* of a stream; owned */
};

struct run {
	struct gateway *gw;
	struct web_request *rq;
	const struct openai_request *q;
	const struct caller *caller;
	struct openai_answer a;
	struct choice *choices;		/* [n_choices] prompt-major; owned */
	int n_choices, n_open;
	char **echoes;			/* [prompts] or NULL; owned */
	struct openai_usage total;
	int64_t start_ns, first_ns;	/* 0: no token yet */
	struct buf out;
	bool thinks;			/* thoughts are told from answers */
	bool resumed;			/* said and thought have what comes first */
	size_t from;			/* and where that begins */
	struct parked_running running;	/* while it is listed */
	bool listed;
	atomic_bool let_go;		/* the client came back on another way */
};

/*
 * Wait for pieces of those that are open: lists [n_choices], to be freed with
 * piece_list_free.  As upstream_wait_any.
 */
int answer_wait(struct run *run, struct piece **lists, struct err *e);

/* Take the next piece in: c->said and c->thought get its text, c->finish is set
 * by the last.  An error if that is no end of a text. */
int answer_take(struct run *run, struct choice *c, const struct piece *p,
    struct err *e);

/* All of list was taken by the client: the worker may forget it.  After the
 * last, c is over. */
void answer_taken(struct run *run, struct choice *c, const struct piece *list);

/* Frees what run has; cancels what is open. */
void answer_end(struct run *run);

/* answer_park.c.  A stream is listed while it runs, so that it can be asked to let
 * go; then, or when the client is gone, or when it is over, it is kept. */
void answer_list(struct run *run);
void answer_unlist(struct run *run);
void answer_keep(struct run *run, struct choice *c);
/* The events of what a resumed one has already. */
void answer_kept(struct run *run, struct choice *c);

/* Both always answer. */
void answer_stream(struct run *run);
void answer_whole(struct run *run);

#endif

#ifndef DECODE_SCHEDULER_H
#define DECODE_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "job.h"
#include "kv_cache.h"

/*
 * Who waits, who has a slot and pages, and who is in the next step.  One thread
 * at a time.
 */
struct scheduler_config {
	int n_slots;		/* requests that run at once */
	int32_t n_pages;	/* of the KV cache: n_ctx fits */
	int32_t n_ctx;		/* tokens of one request at most */
	int32_t step_rows;	/* rows of one step; at least n_slots */
	int32_t prefill_rows;	/* of prompts, when somebody decodes; >= 1 */
	int32_t ahead;		/* drafts that a row may have behind it */
	bool sharing;		/* of pages with the same prefix */
};

/* Positions 0..n-1 of one page to another, before the next step. */
struct page_copy {
	int32_t from, to, n;
};

/* Counters since the start. */
struct scheduler_counts {
	int64_t queries, hits;	/* admitted, never ran before; found some */
	int64_t found_tokens;	/* that need not be computed, in all */
	int64_t copies;		/* of pages */
	int64_t preempted;	/* times a request went back to the queue */
};

struct scheduler {
	struct scheduler_config c;
	struct job **slots;	/* [n_slots] NULL: free; owned */
	struct job *head;	/* of the queue */
	int n_running, n_queued;
	int64_t queued_tokens;	/* of those who wait, to be computed */
	int64_t n_ranks;
	int64_t solo_rank;	/* who had the last step alone */
	bool solo_last;		/* the last step was somebody's alone */
	bool short_of_pages;	/* the next of the queue waits for them */
	struct kv_cache cache;
	struct page_copy *copies;	/* [n_copies] room for n_slots; owned */
	int n_copies;
	struct scheduler_counts counts;
};

/* Rows of a step that may be scored, all of one job: each takes a row of logits. */
enum { SCHEDULER_SCORED_MAX = 16 };

/* The rows of one job in a step. */
struct share {
	struct job *job;
	int32_t n_rows;
	int32_t n_drafts;	/* the last of them, whose tokens are guessed */
	int32_t n_samples;	/* its last rows that want logits, from the end
				 * of its sequence on; 0: its prompt goes on */
	int32_t n_scored;	/* its first rows, whose logits say how likely the
				 * next token of its prompt was */
	int32_t n_top;		/* they want so many of the largest only; 0: all */
	int32_t first, n_chosen;/* what was sampled for them, in the engine's */
};

struct plan {
	struct backend_row *rows;	/* [step_rows] */
	struct share *shares;		/* [n_slots], in the order of rows */
	int n_rows, n_shares, n_samples;
};

int scheduler_init(struct scheduler *s, const struct scheduler_config *c,
    struct err *e);
void scheduler_finish(struct scheduler *s);

void scheduler_enqueue(struct scheduler *s, struct job *j);

/* Take j out of the queue or its slot.  Its pages stay known until they are
 * needed. */
void scheduler_remove(struct scheduler *s, struct job *j);

/*
 * A page for the next token of everyone who decodes, then slots and pages to
 * those who wait.  Who has no page for its next token afterwards is in the queue
 * again.  s->copies are to be made before the next step, and the step to be
 * followed by scheduler_copied.
 */
void scheduler_admit(struct scheduler *s, int64_t now_us);
void scheduler_copied(struct scheduler *s);

/*
 * The shares of the next step: one row of everyone who decodes, then rows of the
 * prompts up to step_rows, or up to prefill_rows of them if somebody decodes.
 * Who has DECODE_UNACKED_MAX pieces waiting for an ack is left out.  Who is solo
 * has steps of their own, each in turn, and every other step belongs to the
 * rest.  p->rows come with plan_fill.
 */
void scheduler_plan(struct scheduler *s, struct plan *p);

/* j->n_fed is what it is now: tokens before it are final, and computed. */
void scheduler_fed(struct scheduler *s, struct job *j);

/* Write the rows and the n_samples of the shares; drafts stand in the tokens of
 * a job, past its n_tokens. */
void plan_fill(struct plan *p);

#endif

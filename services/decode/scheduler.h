#ifndef DECODE_SCHEDULER_H
#define DECODE_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "job.h"
#include "kv_pages.h"

/*
 * Who waits, who has a slot, and who is in the next step.  First come, first
 * served: the first in the queue gets the next slot as soon as there are pages
 * for all it may need, and nobody overtakes it.  One thread at a time.
 */
struct scheduler {
	struct job **slots;	/* [n_slots] NULL: free; owned */
	int n_slots, n_running, n_queued;
	struct job *head, *tail;
	struct kv_pages pages;
	int32_t step_rows;	/* rows of one step; at least n_slots */
};

/* The rows of one job in a step. */
struct share {
	struct job *job;
	int32_t n_rows;
	int32_t n_drafts;	/* the last of them, whose tokens are guessed */
	int32_t n_samples;	/* its last rows that want logits, from the end
				 * of its sequence on; 0: its prompt goes on */
	int32_t first, n_chosen;/* what was sampled for them, in the engine's */
};

struct plan {
	struct backend_row *rows;	/* [step_rows] */
	struct share *shares;		/* [n_slots], in the order of rows */
	int n_rows, n_shares, n_samples;
};

int scheduler_init(struct scheduler *s, int n_slots, int32_t n_pages,
    int32_t step_rows, struct err *e);
void scheduler_finish(struct scheduler *s);

void scheduler_enqueue(struct scheduler *s, struct job *j);

/* Take j out of the queue or its slot, whose pages are free again. */
void scheduler_remove(struct scheduler *s, struct job *j);

/* Give free slots to those who wait. */
void scheduler_admit(struct scheduler *s, int64_t now_us);

/*
 * The shares of the next step: one row of everyone who decodes, and what is left
 * of step_rows to the prompts, oldest first.  Who has DECODE_UNACKED_MAX pieces
 * waiting for an ack is left out.  p->rows come with plan_fill.
 */
void scheduler_plan(const struct scheduler *s, struct plan *p);

/* Write the rows and the n_samples of the shares; drafts stand in the tokens of
 * a job, past its n_tokens. */
void plan_fill(struct plan *p);

#endif

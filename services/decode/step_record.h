#ifndef DECODE_STEP_RECORD_H
#define DECODE_STEP_RECORD_H

#include <stdatomic.h>
#include <stdint.h>

#include "decode.h"
#include "scheduler.h"

/*
 * Which requests the worker was at work on when it died: before each step their
 * ids, and how far each was, go into a file of the runtime directory that is
 * mapped, so they are there after a kill -9, too; the next life reads it.  Ids
 * and numbers only, no text.
 *
 * Thread rule: one thread, the compute thread, writes steps; the handler of a
 * fatal signal notes it.  What the last life left may be read by any thread.
 */
struct step_record_request {
	char id[DECODE_ID_LEN + 1];
	int64_t seq;		/* of the token that is to be made */
};

struct step_record_step {
	int64_t step;
	int32_t n;		/* of requests; 0: none is in a step */
	int32_t prefill;	/* are tokens of prompts among the rows? */
	struct step_record_request requests[DECODE_REQUESTS_MAX];
};

/* What the file is.  Two steps, so that one of them is whole at any moment. */
struct step_record_file {
	char magic[8];
	char boot[DECODE_BOOT_LEN + 1];
	_Atomic int32_t fault;	/* the signal that ended it; 0: none did, or one
				 * that nobody can see, like SIGKILL */
	_Atomic int32_t clean;	/* it came to its own end */
	_Atomic int32_t current;/* which of the two */
	struct step_record_step steps[2];
};

struct step_record {
	struct step_record_file *file;	/* mapped; NULL: there is none */
	struct step_record_file *last;	/* of the life before, or NULL */
};

/*
 * Map path (made if missing), keeping what the last life left in r->last.  A
 * file that is not such a record counts as none.  ERR_SYSTEM, ERR_NO_MEMORY.
 */
int step_record_open(struct step_record *r, const char *path, struct err *e);

/* From now on the record is this life's: boot, no step.  And fatal signals of
 * the process are noted in it; once per process. */
void step_record_begin(struct step_record *r, const char *boot);

/* The next step, before it is computed. */
void step_record_write(struct step_record *r, int64_t step,
    const struct plan *p);

/* A clean stop: no step, nobody to blame. */
void step_record_clear(struct step_record *r);

/* What the last life left, as decode.h tells it: *is with its requests a new
 * reference. */
void step_record_last(const struct step_record *r,
    struct decode_last_step_is *is);

void step_record_close(struct step_record *r);

#endif

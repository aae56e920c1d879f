/*
 * The decode worker with a fault: a request that asks for POISON_TOKENS tokens
 * ends it, or makes it hang, when its token $POISON_AT is to be made, and
 * $POISON_AFTER_MS later, so that the tokens before have arrived.  Only the tests
 * are linked with this, between the engine and its record of steps; the worker
 * that is installed has no such thing.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "step_record.h"

enum { POISON_TOKENS = 66 };

void __real_step_record_write(struct step_record *r, int64_t step,
    const struct plan *p);
void __wrap_step_record_write(struct step_record *r, int64_t step,
    const struct plan *p);

void
__wrap_step_record_write(struct step_record *r, int64_t step,
    const struct plan *p)
{
	const char *at = getenv("POISON_AT"), *how = getenv("POISON_HOW");
	const char *after = getenv("POISON_AFTER_MS");

	__real_step_record_write(r, step, p);
	for (int i = 0; at != NULL && i < p->n_shares; i++) {
		const struct job *j = p->shares[i].job;

		if (j->limit != POISON_TOKENS ||
		    job_n_generated(j) < atoi(at))
			continue;
		if (after != NULL)
			usleep(1000 * (useconds_t)atoi(after));
		if (how != NULL && strcmp(how, "hang") == 0) {
			fprintf(stderr, "poison: it hangs\n");
			pause();
		}
		if (how != NULL && strcmp(how, "kill") == 0)
			raise(SIGKILL);
		abort();
	}
}

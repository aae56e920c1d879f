#ifndef DECODE_CPU_TEAM_H
#define DECODE_CPU_TEAM_H

#include "err.h"

/*
 * A fixed team of threads that does one job together: the caller is number 0,
 * the others sleep in between and cost nothing then.  All signals are blocked
 * in them, and they run on the processors that the caller may use.
 *
 * Thread rule: one thread at a time calls cpu_team_run.
 */
enum { CPU_TEAM_MAX = 256 };

struct cpu_team;

/* What every member runs; number: 0..n - 1. */
typedef void cpu_team_job(struct cpu_team *t, int number, void *arg);

/*
 * n_threads: 1..CPU_TEAM_MAX, or 0 for one per processor of the affinity mask.
 * ERR_RANGE, ERR_NO_MEMORY, ERR_SYSTEM if a thread cannot be started.
 */
int cpu_team_create(int n_threads, struct cpu_team **t, struct err *e);
void cpu_team_destroy(struct cpu_team *t);	/* NULL is fine */

int cpu_team_size(const struct cpu_team *t);

/* Run job on all members; returns when all are done. */
void cpu_team_run(struct cpu_team *t, cpu_team_job *job, void *arg);

/*
 * Inside a job, by all members: nobody goes on before all have come, and
 * everybody sees what was written before.
 */
void cpu_team_barrier(struct cpu_team *t);

/* The part of 0..n that is number's, in multiples of step: *from..*to. */
void cpu_team_share(const struct cpu_team *t, int number, int n, int step,
    int *from, int *to);

#endif

#ifndef DECODE_CPU_TEAM_H
#define DECODE_CPU_TEAM_H

#include <stdint.h>

#include "err.h"

/*
 * A fixed team of threads that does one job together: the caller is number 0,
 * the others, named "team 1" and so on, sleep in between and cost nothing then.
 * All signals are blocked in them, and they run on the processors that the caller
 * may use: each on one of its own if there are as many.  The scheduler may move
 * them, and does so to get out of the way of others; it also puts two of them on one processor when
 * somebody of no importance runs on the next, and that is put right at the start
 * of a job.  A team that is pinned stays where it is.
 *
 * A job is a list of steps, and a step is a number of pieces that may be done
 * at the same time.  Nobody has a piece of his own: whoever runs takes the next,
 * so a member whose processor is taken away holds up the others for no more than
 * the piece that it had begun.
 *
 * Thread rule: one thread at a time calls cpu_team_run.
 */
enum { CPU_TEAM_MAX = 256, CPU_TEAM_PIECES = 256 };

struct cpu_team;

struct cpu_team_job {
	/*
	 * How many pieces step has, at most CPU_TEAM_PIECES; 0: skip it; -1: the
	 * job is over.  Called once for each of 0, 1, 2 …, when all before it is
	 * done and nobody works, so it may write what pieces read.
	 */
	int (*plan)(void *arg, int step);
	/* Do one piece, 0..; number: the member, 0..size - 1. */
	void (*piece)(void *arg, int number, int step, int piece);
};

/*
 * n_threads: 1..CPU_TEAM_MAX, or 0 for one per physical core of the affinity mask
 * and no more than the quota of the control group (topology_threads).  ERR_RANGE,
 * ERR_NO_MEMORY, also if a thread cannot be started.
 */
int cpu_team_create(int n_threads, struct cpu_team **t, struct err *e);
/* From now on each has one processor; the caller, while it is in cpu_team_run.
 * Nothing happens to more members than there are processors, or to one alone. */
void cpu_team_pin(struct cpu_team *t);
void cpu_team_destroy(struct cpu_team *t);	/* NULL is fine */

int cpu_team_size(const struct cpu_team *t);
/* The NUMA nodes of its processors, a bit each. */
uint64_t cpu_team_nodes(const struct cpu_team *t);

/*
 * Do job; returns when it is over.  What a piece wrote is seen by all pieces of
 * later steps, by plan, and by the caller.
 */
void cpu_team_run(struct cpu_team *t, const struct cpu_team_job *job, void *arg);

/* The part of 0..n that is piece's of n_pieces, in multiples of unit. */
void cpu_team_range(int n, int unit, int piece, int n_pieces, int *from,
    int *to);

#endif

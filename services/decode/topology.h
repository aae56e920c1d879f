#ifndef DECODE_TOPOLOGY_H
#define DECODE_TOPOLOGY_H

#include <stdint.h>

/*
 * The processors that this process may use, and the memory beside them.  What
 * the system does not tell is assumed to be simple: a core for each processor,
 * one node, no quota.  Any thread.
 */
enum {
	TOPOLOGY_CPUS = 4096,	/* more than any kernel has */
	TOPOLOGY_LIST = 256,	/* of them, how many are listed */
};

/* A set of processors; as sched_getaffinity has it. */
struct topology_set {
	uint64_t bits[TOPOLOGY_CPUS / 64];
};

struct topology {
	int n_cpus;		/* in the affinity mask, 1.. */
	int n_cores;		/* physical ones with a processor in it, 1.. */
	int quota;		/* whole processors that the control group grants,
				 * 1..; 0: no limit */
	int n_list;		/* of: */
	int list[TOPOLOGY_LIST];	/* the mask, one of each core first, then
					 * the others of each */
	uint64_t nodes;		/* bit i: NUMA node i has a processor of the mask */
};

/* The affinity mask of the calling thread. */
void topology_mask(struct topology_set *set);

/*
 * Fill t.  root: what the paths /sys and /proc begin with, "" outside of tests;
 * mask: the processors that count.
 */
void topology_read(const char *root, const struct topology_set *mask,
    struct topology *t);

/* One thread per core, and no more than the quota grants: 1.. */
int topology_threads(const struct topology *t);

#endif

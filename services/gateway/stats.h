#ifndef GATEWAY_STATS_H
#define GATEWAY_STATS_H

#include <pthread.h>

#include "metrics.h"

/*
 * What the gateway counts.  Any thread.
 */
enum { STATS_CELLS = 128 };

/* Why a request was told to come back later. */
enum { STATS_RATE, STATS_PLACES, STATS_QUEUE, STATS_REASONS };

struct stats {
	pthread_mutex_t lock;
	struct stats_cell {
		const char *method, *route;	/* static; NULL: free */
		int status;
		uint64_t n;
	} cells[STATS_CELLS];
	atomic_uint_fast64_t n_prompt, n_generated;	/* tokens */
	atomic_uint_fast64_t limited[STATS_REASONS];
	struct metrics_histogram first_token;	/* from the request's arrival */
	struct metrics_histogram overhead;	/* event published to bytes out */
	struct metrics_histogram duration;	/* of an answer */
};

void stats_init(struct stats *s);

/*
 * route: the table's path, or "other".  Both strings are static.  When all cells
 * but one are taken, what is new is counted together, as other, other, 0.
 */
void stats_count(struct stats *s, const char *method, const char *route,
    int status);

/* onebit_gateway_requests_total and the histograms. */
void stats_write(struct stats *s, struct metrics *m);

/* All requests so far. */
uint64_t stats_requests(struct stats *s);

#endif

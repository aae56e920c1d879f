#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "buf.h"

/*
 * Prometheus text format 0.0.4.  A service keeps its numbers where it likes and
 * writes them all in one function; HELP and TYPE are written when the name
 * differs from the one before, so samples of one name go together.
 */
struct metrics {
	struct buf *out;
	const char *last;	/* name of the sample before, static */
};

/*
 * labels: "" or `unit="decode",reason="queue"`, values already escaped.
 * name ends in its unit; counters in _total.
 */
void metrics_counter(struct metrics *m, const char *name, const char *help,
    const char *labels, double value);
void metrics_gauge(struct metrics *m, const char *name, const char *help,
    const char *labels, double value);

/* Seconds, in buckets from 100 µs to 100 s.  observe: any thread. */
enum { METRICS_BUCKETS = 19 };
struct metrics_histogram {
	atomic_uint_fast64_t counts[METRICS_BUCKETS + 1];
	atomic_uint_fast64_t sum_ns;
};
void metrics_observe(struct metrics_histogram *h, double seconds);
void metrics_histogram(struct metrics *m, const char *name, const char *help,
    const char *labels, const struct metrics_histogram *h);

/* process_* samples: resident memory, CPU seconds, open descriptors, start
 * time; and onebit_build_info{version,unit}. */
void metrics_process(struct metrics *m, const char *unit);

#endif

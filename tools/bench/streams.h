#ifndef BENCH_STREAMS_H
#define BENCH_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The decode worker of tools/bench/streams.c: the real sockets and messages in dir,
 * no model.  Every request gets max_tokens tokens, rate of them a second, all
 * requests in the same steps; the text of each is "@" and when its step was made,
 * CLOCK_MONOTONIC in us.  Ends when its parent does.  The exit status.
 */
int streams_worker(const char *dir, double rate);

/* What the clients saw. */
struct streams_seen {
	int n_streams;
	int n_begun;		/* the first token came */
	int n_done;		/* [DONE] and the last chunk came */
	int n_refused, n_cut;	/* no 200; ended without [DONE] */
	int n_short;		/* done with fewer or more tokens than asked for */
	int n_stalled;		/* more than a second, and five steps, between two tokens */
	int64_t n_tokens;	/* in all */
	double longest_gap_ms;
	int64_t window_tokens;	/* while all streams ran, and */
	double window_s, window_cpu_s;	/* what the gateway used for them */
	int64_t rss_max_kb;
	double median_ms, p99_ms;	/* from the step to the client */
};

/* What the clients are to do. */
struct streams_plan {
	int port, n_streams, n_tokens;
	double rate;
	int gateway_pid;
};

/* Run the clients to their end; 0, or -1 after a sentence on stderr. */
int streams_run(const struct streams_plan *p, struct streams_seen *seen);

/*
 * In place of a gateway: the least that one could do (streams_bare.c), for the clients
 * of p, whose port and gateway_pid are set.  0, or -1 after a sentence on stderr; both
 * processes end with this one.
 */
enum { STREAMS_BARE_MAX = 1024 };
struct streams_bare {
	int steps, relay;	/* pids, or 0 */
};
int streams_bare(struct streams_plan *p, struct streams_bare *b);

/* CPU seconds of a process so far, and its resident memory. */
double streams_cpu(int pid);
int64_t streams_rss_kb(int pid);

#endif

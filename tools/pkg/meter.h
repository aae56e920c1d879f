#ifndef METER_H
#define METER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How a download goes, on standard error: on a terminal one line with a bar,
 * the rate and what is left, drawn five times a second; elsewhere a plain line
 * every ten seconds; nothing if quiet.
 */
struct meter {
	bool quiet, tty;
	const char *name;	/* of the file; borrowed */
	int n, of;		/* file n of so many */
	int64_t drawn_ms;	/* when, 0: not yet */
	int64_t rate_ms, rate_at;	/* since when the rate is taken */
	double rate;		/* bytes a second, smoothed */
	bool shown;
};

void meter_init(struct meter *m, bool quiet);
void meter_begin(struct meter *m, const char *name, int n, int of);
/* at of total bytes (total -1: not known). */
void meter_show(struct meter *m, int64_t at, int64_t total);
/* A sentence on a line of its own. */
void meter_note(struct meter *m, const char *text);
void meter_end(struct meter *m);	/* removes the bar */

#endif

#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "meter.h"
#include "pkg.h"

enum { TTY_MS = 200, PLAIN_MS = 10000, BAR = 24 };

void
meter_init(struct meter *m, bool quiet)
{
	*m = (struct meter){ .quiet = quiet,
	    .tty = isatty(STDERR_FILENO) == 1, .name = "" };
}

void
meter_begin(struct meter *m, const char *name, int n, int of)
{
	meter_end(m);
	m->name = name;
	m->n = n;
	m->of = of;
	m->rate = 0;
	m->rate_ms = 0;
	/* The first line comes at once on a terminal, else after a while. */
	m->drawn_ms = m->tty ? 0 : clock_ms();
}

/* The rate of the last second or so, against jumps mixed with the one before. */
static void
measure(struct meter *m, int64_t now, int64_t at)
{
	double seconds = (double)(now - m->rate_ms) / 1000, rate;

	if (m->rate_ms == 0 || at < m->rate_at) {
		m->rate_ms = now;
		m->rate_at = at;
		return;
	}
	if (seconds < 1)
		return;
	rate = (double)(at - m->rate_at) / seconds;
	m->rate = m->rate > 0 ? 0.7 * m->rate + 0.3 * rate : rate;
	m->rate_ms = now;
	m->rate_at = at;
}

/* "3 min 20 s" */
static void
duration(double seconds, char out[32])
{
	long s = seconds < 1e6 ? (long)seconds + 1 : 1000000;

	if (s < 60)
		snprintf(out, 32, "%ld s", s);
	else if (s < 3600)
		snprintf(out, 32, "%ld min %02ld s", s / 60, s % 60);
	else
		snprintf(out, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
}

static void
bar(double part)
{
	int width = (int)(part * BAR);

	fprintf(stderr, "[%.*s%*s] ", width, "########################",
	    BAR - width, "");
}

void
meter_show(struct meter *m, int64_t at, int64_t total)
{
	int64_t now = clock_ms();
	char have[32], all[32], rate[32], left[32];

	if (m->quiet)
		return;
	measure(m, now, at);
	if (now - m->drawn_ms < (m->tty ? TTY_MS : PLAIN_MS))
		return;
	m->drawn_ms = now;
	pkg_size((double)at, have);
	pkg_size(m->rate, rate);
	if (m->tty)
		fputs("\r\033[K", stderr);
	if (m->of > 1)
		fprintf(stderr, "%d/%d ", m->n, m->of);
	fprintf(stderr, "%.40s ", m->name);
	if (total > 0) {
		double part = (double)at / (double)total;

		pkg_size((double)total, all);
		if (m->tty)
			bar(part > 1 ? 1 : part);
		fprintf(stderr, "%.0f %% of %s", part * 100, all);
	} else
		fprintf(stderr, "%s", have);
	if (m->rate > 0)
		fprintf(stderr, ", %s/s", rate);
	if (m->rate > 0 && total > at) {
		duration((double)(total - at) / m->rate, left);
		fprintf(stderr, ", %s left", left);
	}
	fputs(m->tty ? "" : "\n", stderr);
	fflush(stderr);
	m->shown = m->tty;
}

void
meter_note(struct meter *m, const char *text)
{
	meter_end(m);
	if (!m->quiet)
		fprintf(stderr, "1bit-halo-pkg: %s\n", text);
}

void
meter_end(struct meter *m)
{
	if (m->shown)
		fputs("\r\033[K", stderr);
	m->shown = false;
}

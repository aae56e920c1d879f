#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "conf.h"
#include "metrics.h"

/* Upper bounds in seconds: 1, 2.5 and 5 of every decade. */
static const double bounds[METRICS_BUCKETS] = {
	1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1,
	0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100,
};

static void
head(struct metrics *m, const char *name, const char *help, const char *type)
{
	if (m->last != NULL && strcmp(m->last, name) == 0)
		return;
	m->last = name;
	buf_printf(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
	    type);
}

/* The shortest of two forms that reads back as value. */
static void
add_value(struct buf *b, double value)
{
	char text[40];

	if (isnan(value)) {
		buf_adds(b, "NaN\n");
		return;
	}
	if (isinf(value)) {
		buf_adds(b, value > 0 ? "+Inf\n" : "-Inf\n");
		return;
	}
	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) < value || strtod(text, NULL) > value)
		snprintf(text, sizeof(text), "%.17g", value);
	buf_printf(b, "%s\n", text);
}

static void
sample(struct metrics *m, const char *name, const char *labels, double value)
{
	if (*labels != '\0')
		buf_printf(m->out, "%s{%s} ", name, labels);
	else
		buf_printf(m->out, "%s ", name);
	add_value(m->out, value);
}

void
metrics_counter(struct metrics *m, const char *name, const char *help,
    const char *labels, double value)
{
	head(m, name, help, "counter");
	sample(m, name, labels, value);
}

void
metrics_gauge(struct metrics *m, const char *name, const char *help,
    const char *labels, double value)
{
	head(m, name, help, "gauge");
	sample(m, name, labels, value);
}

void
metrics_observe(struct metrics_histogram *h, double seconds)
{
	int i = 0;

	if (!(seconds > 0))	/* NaN too */
		seconds = 0;
	while (i < METRICS_BUCKETS && seconds > bounds[i])
		i++;
	atomic_fetch_add_explicit(&h->counts[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum_ns,
	    (uint_fast64_t)((seconds < 1e9 ? seconds : 1e9) * 1e9), memory_order_relaxed);
}

void
metrics_histogram(struct metrics *m, const char *name, const char *help,
    const char *labels, const struct metrics_histogram *h)
{
	const char *comma = *labels != '\0' ? "," : "";
	const char *open = *labels != '\0' ? "{" : "";
	const char *close = *labels != '\0' ? "}" : "";
	uint_fast64_t n = 0;

	head(m, name, help, "histogram");
	for (int i = 0; i < METRICS_BUCKETS; i++) {
		n += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
		buf_printf(m->out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name,
		    labels, comma, bounds[i], (unsigned long long)n);
	}
	n += atomic_load_explicit(&h->counts[METRICS_BUCKETS],
	    memory_order_relaxed);
	buf_printf(m->out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels,
	    comma, (unsigned long long)n);
	buf_printf(m->out, "%s_sum%s%s%s ", name, open, labels, close);
	add_value(m->out, (double)atomic_load_explicit(&h->sum_ns,
	    memory_order_relaxed) / 1e9);
	buf_printf(m->out, "%s_count%s%s%s %llu\n", name, open, labels, close,
	    (unsigned long long)n);
}

/* Bytes of memory that are resident now; 0 without /proc. */
static double
resident_bytes(void)
{
	FILE *fp = fopen("/proc/self/statm", "re");
	unsigned long long pages = 0;

	if (fp == NULL)
		return 0;
	if (fscanf(fp, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(fp);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double
open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = -3;		/* ".", ".." and the one of opendir */

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* Time of day of the start: now less the age by the boot clock. */
static double
start_seconds(void)
{
	FILE *fp = fopen("/proc/self/stat", "re");
	unsigned long long ticks = 0;
	struct timespec now, up;
	char line[1024];
	char *p;

	if (fp == NULL)
		return 0;
	p = fgets(line, sizeof(line), fp);
	fclose(fp);
	/* The name, in brackets, may hold blanks; after it start is the 20th. */
	if (p == NULL || (p = strrchr(line, ')')) == NULL ||
	    sscanf(p + 1, " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
	    " %*s %*s %*s %*s %*s %*s %*s %llu", &ticks) != 1)
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &up);
	return (double)now.tv_sec - (double)up.tv_sec +
	    (double)(now.tv_nsec - up.tv_nsec) / 1e9 +
	    (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void
metrics_process(struct metrics *m, const char *unit)
{
	struct rlimit limit = { 0 };
	struct timespec cpu = { 0 };
	char labels[128];

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	getrlimit(RLIMIT_NOFILE, &limit);
	metrics_gauge(m, "process_resident_memory_bytes",
	    "Resident memory size in bytes.", "", resident_bytes());
	metrics_counter(m, "process_cpu_seconds_total",
	    "Total user and system CPU time spent in seconds.", "",
	    (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
	metrics_gauge(m, "process_open_fds",
	    "Number of open file descriptors.", "", open_descriptors());
	metrics_gauge(m, "process_max_fds",
	    "Maximum number of open file descriptors.", "",
	    (double)limit.rlim_cur);
	metrics_gauge(m, "process_start_time_seconds",
	    "Start time of the process since unix epoch in seconds.", "",
	    start_seconds());
	snprintf(labels, sizeof(labels), "version=\"%s\",unit=\"%s\"",
	    ONEBIT_VERSION, unit);
	metrics_gauge(m, "onebit_build_info", "The program that answers.",
	    labels, 1);
}

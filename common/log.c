/*
 * A line is composed in a buffer on the stack and written by one write(2):
 * threads need no lock, and lines of two processes on one pipe do not mix.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "utf8.h"

enum { LOG_TEXT_MAX = 1024, LOG_LINE_MAX = 2 * LOG_TEXT_MAX + 256 };

static struct {
	const char *unit;
	bool json, journal, colour, verbose;
} conf = { .unit = "1bit" };

/* Is stderr what systemd says that the journal reads?  A program that was started
 * by a service inherits the variable, and its stderr may be anything. */
static bool
is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream != NULL && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	    fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
	    st.st_ino == ino;
}

void
log_init(const char *unit, enum log_format format, int verbose)
{
	const char *no_color = getenv("NO_COLOR");

	conf.unit = unit;
	conf.json = format == LOG_FORMAT_JSON;
	conf.verbose = verbose != 0;
	conf.journal = is_journal();
	conf.colour = isatty(STDERR_FILENO) &&
	    (no_color == NULL || *no_color == '\0');
}

static const char *
level_name(int priority)
{
	switch (priority) {
	case LOG_ERR:
		return "error";
	case LOG_WARNING:
		return "warn";
	case LOG_INFO:
		return "info";
	}
	return "debug";
}

static const char *
colour_of(int priority)
{
	switch (priority) {
	case LOG_ERR:
		return "\033[31m";
	case LOG_WARNING:
		return "\033[33m";
	case LOG_INFO:
		return "\033[32m";
	}
	return "\033[2m";
}

static size_t
compose_json(char *line, size_t size, int priority, const char *text)
{
	char escaped[2 * LOG_TEXT_MAX];
	char level[8] = "";	/* for the journal, which takes it off */
	struct timespec now;
	struct tm tm;
	size_t n = 0;
	int len;

	/* utf8_clean has left no control characters. */
	for (; *text != '\0' && n + 3 < sizeof(escaped); text++) {
		if (*text == '"' || *text == '\\')
			escaped[n++] = '\\';
		escaped[n++] = *text;
	}
	escaped[n] = '\0';
	if (conf.journal)
		snprintf(level, sizeof(level), "<%d>", priority);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = snprintf(line, size, "%s{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d"
	    ".%03dZ\",\"level\":\"%s\",\"unit\":\"%s\",\"msg\":\"%s\"}\n",
	    level, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
	    tm.tm_min, tm.tm_sec, (int)(now.tv_nsec / 1000000),
	    level_name(priority), conf.unit, escaped);
	return len < 0 ? 0 : (size_t)len;
}

static size_t
compose_text(char *line, size_t size, int priority, const char *text)
{
	time_t now = time(NULL);
	struct tm tm;
	int len;

	if (conf.journal) {
		len = snprintf(line, size, "<%d>%s: %s\n", priority, conf.unit,
		    text);
		return len < 0 ? 0 : (size_t)len;
	}
	localtime_r(&now, &tm);
	len = snprintf(line, size, "%02d:%02d:%02d %s%-5s%s %s: %s\n",
	    tm.tm_hour, tm.tm_min, tm.tm_sec,
	    conf.colour ? colour_of(priority) : "", level_name(priority),
	    conf.colour ? "\033[0m" : "", conf.unit, text);
	return len < 0 ? 0 : (size_t)len;
}

static void __attribute__((format(printf, 2, 0)))
write_line(int priority, const char *fmt, va_list ap)
{
	char text[LOG_TEXT_MAX], line[LOG_LINE_MAX];
	int saved = errno;
	size_t n;

	vsnprintf(text, sizeof(text), fmt, ap);
	utf8_clean(text);
	n = conf.json ? compose_json(line, sizeof(line), priority, text) :
	    compose_text(line, sizeof(line), priority, text);
	if (n >= sizeof(line))
		n = sizeof(line) - 1;
	if (write(STDERR_FILENO, line, n) == -1) {
		/* nowhere to say so */
	}
	errno = saved;
}

void
log_usage(const char *name, const char *text)
{
	fprintf(stderr, is_journal() ? "<3>%s: %s\n" : "%s: %s\n", name, text);
}

#define LOG_FUNCTION(name, priority, when) \
	void                               \
	name(const char *fmt, ...)         \
	{                                  \
		va_list ap;                \
                                           \
		if (!(when))               \
			return;            \
		va_start(ap, fmt);         \
		write_line(priority, fmt, ap); \
		va_end(ap);                \
	}
LOG_FUNCTION(log_error, LOG_ERR, true)
LOG_FUNCTION(log_warn, LOG_WARNING, true)
LOG_FUNCTION(log_info, LOG_INFO, true)
LOG_FUNCTION(log_debug, LOG_DEBUG, conf.verbose)

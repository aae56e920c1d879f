#ifndef COMMON_LOG_H
#define COMMON_LOG_H

/*
 * One line per event on stderr.  Any thread may log; a line is written by one
 * write(2).  Three forms, chosen by log_init:
 *
 *	text, for a person	12:01:07 info  decode: ready port=8080
 *	text, under systemd	<6>decode: ready port=8080
 *	json			{"time":"…Z","level":"info","unit":"decode","msg":"…"}
 *
 * The systemd form is used when stderr is what $JOURNAL_STREAM names, and then
 * JSON has the same priority before it, which the journal takes off; colour only
 * when stderr
 * is a terminal and NO_COLOR is not set.  A line that cannot be written (full
 * disk, closed pipe) is dropped and never an error.  A prompt, an answer or a
 * key is never logged; `id=` names the request.
 */
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* unit: "decode", static.  verbose: also what log_debug says. */
void log_init(const char *unit, enum log_format format, int verbose);
/* "name: text", however log_init was called: what is wrong with the options. */
void log_usage(const char *name, const char *text);
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

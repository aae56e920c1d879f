#ifndef TESTS_PROCESS_H
#define TESTS_PROCESS_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "../unit/decode/slow.h"
#include "bus.h"

/*
 * Real binaries in a directory of their own, for process tests.  Everything
 * here fails the running test when it cannot do its work.  Programs are started
 * with posix_spawn, since NNG does not survive a fork(); so a test that uses
 * the bus runs with CK_NOFORK.
 */
enum { PROCESS_ARGS_MAX = 32 };

/* How long is waited for what should take some seconds at most: a machine may be slow,
 * and a limit that nothing is proven by is there for a test that would hang. */
enum {
	PROCESS_READY_MS = SLOW ? 600000 : 120000, PROCESS_END_MS = PROCESS_READY_MS,
	PROCESS_PATIENCE_MS = PROCESS_READY_MS / 2,	/* for an answer */
	PROCESS_TRIES = PROCESS_PATIENCE_MS / 10,	/* of looking again, after 10 ms */
};

struct process {
	pid_t pid;		/* 0: not running */
	int notify;		/* where it says READY=1 */
	char log[128];		/* file with its stdout and stderr */
};

/* A new directory below BUILD into dir [64]; removed by process_remove_dir. */
void process_make_dir(char dir[64]);
void process_remove_dir(const char *dir);

/* A TCP port of 127.0.0.1 that nobody listens at now; no other program of these tests is
 * given it as long as this one runs, nor any connection that is made. */
int process_free_port(void);

/*
 * Start args[0] with args, which end with NULL; its output is appended to
 * dir/name.log.  Playing the service manager: process_ready waits for READY=1
 * and fails the test if the program ends before.
 */
void process_start(struct process *p, const char *dir, const char *name,
    const char *const args[]);
void process_ready(struct process *p);

/* Wait for its end: its exit status, or 128 + the signal that killed it.  A
 * process that is still there after timeout_ms is killed and fails the test, and so
 * does one of which a sanitizer said something. */
int process_wait(struct process *p, int timeout_ms);

/* Send it sig, and wait for its end. */
int process_end(struct process *p, int sig, int timeout_ms);

/* Kill it if it is still there.  For main, after the tests: asserts nothing. */
void process_abandon(struct process *p);

/* Run args to its end, as above; the status.  text [size]: what it printed. */
int process_run(const char *dir, const char *const args[], char *text,
    size_t size);

/* Does its log contain text?  In how many lines? */
bool process_logged(const struct process *p, const char *text);
int process_log_lines(const struct process *p, const char *text);

/* GET path from 127.0.0.1:port: the status, 0 if nobody answers; the whole
 * answer in text [size]. */
int process_get(int port, const char *path, char *text, size_t size);

/* bus_call of {type, body}; *obj (may be NULL) gets the reply.  Steals body.
 * Returns 0 or the error's code, e tells more (may be NULL). */
int process_call(struct bus_client *c, unsigned type, json_t *body,
    json_t **obj, struct err *e);

#endif

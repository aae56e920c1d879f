#ifndef TESTS_HOSTILE_H
#define TESTS_HOSTILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"

/*
 * Requests that were made to be misread, from the tables in tests/data/hostile, and
 * what it takes to send them.  Everything fails the running test when it cannot.
 */
struct hostile {
	const char *file;	/* static */
	int line;
	int status;		/* what it deserves; 0: closed without an answer */
	struct buf bytes;	/* the whole request */
};

struct hostiles {
	struct hostile *all;
	size_t n;
};

void hostile_load(struct hostiles *h);
void hostile_free(struct hostiles *h);

/* Connect to 127.0.0.1:port; room: of the socket for what comes, bytes, or 0. */
int hostile_connect(int port, int room);

/* Send all, say that this was all, and read the answer's head: its status, 0 if there
 * is none.  Checks that nothing of the request came back in the head. */
int hostile_ask(int port, const void *bytes, size_t n);

/* Damage text [n], of which there is room for more, the same way for the same seed;
 * the new length. */
size_t hostile_damage(char *text, size_t n, size_t room, uint64_t *seed);

/* Of a process: open descriptors, resident KiB. */
int hostile_fds(pid_t pid);
int64_t hostile_rss_kb(pid_t pid);

#endif

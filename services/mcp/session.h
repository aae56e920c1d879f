#ifndef MCP_SESSION_H
#define MCP_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The sessions of the 2025 era over HTTP: names that were given out, nothing
 * else, since no request depends on one before it.  A name is 128 random bits;
 * it finds a session and proves nothing.  Any thread may call.
 */
enum {
	SESSIONS_MAX = 256,		/* when full, the longest unused one ends */
	SESSION_ID_LEN = 32,		/* hex digits */
	SESSION_IDLE_MS = 3600 * 1000,	/* unused so long, it ends */
};

struct sessions {
	pthread_mutex_t lock;
	struct session {
		char id[SESSION_ID_LEN + 1];	/* "" when free */
		int64_t used_ms;
	} all[SESSIONS_MAX];
};

void sessions_init(struct sessions *s);

/* Begin one; its name goes to id. */
void sessions_begin(struct sessions *s, char id[SESSION_ID_LEN + 1]);

/* Does it exist?  Then it was used now. */
bool sessions_use(struct sessions *s, const char *id);

/* End it; false if there is none. */
bool sessions_end(struct sessions *s, const char *id);

int sessions_count(struct sessions *s);

#endif

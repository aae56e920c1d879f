#ifndef TESTS_WORKER_H
#define TESTS_WORKER_H

#include "buf.h"
#include "decode.h"
#include "process.h"

/*
 * A decode worker on the demo model and a client that reads it as the gateway
 * does: events, replay on a gap or a silence, acks.
 */
enum { WORKER_STREAMS = 64, WORKER_TOKENS = 1100 };

#define WORKER_MODEL "models/halo-demo.h1b"

/* What the client holds of one request. */
struct stream {
	char id[DECODE_ID_LEN + 1];
	int64_t next;		/* seq of the piece to come */
	struct buf text;
	int32_t tokens[WORKER_TOKENS];
	int n_tokens;
	char finish[16];	/* "" while it runs */
	json_t *stats, *logprobs;	/* of the last piece; of all tokens */
	bool gap;		/* a piece was missed */
	json_t *accepted;	/* what generate was answered, or NULL */
};

struct worker {
	struct process process;
	char dir[64];
	int port;
	char boot[DECODE_BOOT_LEN + 1];
	struct bus_client *client;
	/* Under a lock: the subscriber's thread writes here. */
	struct stream *streams[WORKER_STREAMS];
	int n_streams, n_statuses, n_replays;
	unsigned base;		/* added to n: a new test has new ids */
	bool deaf;		/* set by a test: events are thrown away */
};

/* Is the demo model there?  Else a test skips. */
bool worker_has_model(void);

/* Start it in w->dir (made if ""), with extra arguments (ends with NULL, or
 * NULL), and wait until it is ready. */
void worker_start(struct worker *w, const char *const extra[]);

/* The same, without waiting for it or opening a client. */
void worker_launch(struct worker *w, const char *const extra[]);

/*
 * Ask for body (stolen; an id is added: n is ours, until worker_forget).  Returns 0 or the
 * error's code.  first: seq of the first piece, i.e. how many were forced.
 */
int worker_generate(struct worker *w, int n, json_t *body, int64_t first,
    struct err *e);

/* Read request n to its end.  The stream lives until worker_forget. */
struct stream *worker_read(struct worker *w, int n);

/* Read it until it has n_tokens or ended. */
struct stream *worker_read_some(struct worker *w, int n, int n_tokens);
void worker_forget(struct worker *w);

/* generate with this chat message and these parameters (stolen; may be NULL),
 * read to the end. */
struct stream *worker_ask(struct worker *w, int n, const char *message,
    json_t *parameters);

#endif

#ifndef TESTS_CHAT_H
#define TESTS_CHAT_H

#include <check.h>

#include "worker.h"

/*
 * Chats with a worker that remembers them.  Everything here fails the running
 * test when it cannot do its work.
 */
#define CHAT_A "aa01"
#define CHAT_B "bb02"
#define CHAT_STORY "Once upon a time there was a little fox who lived at the " \
	"edge of a dark forest. Every morning the fox walked down to the river " \
	"to drink, and every morning an old turtle was there already. "

/* A chat, and the key of its session. */
struct chat {
	const char *key;	/* NULL: none */
	json_t *messages;	/* to be released */
	struct stream *last;
};

extern struct worker chat_worker;
extern char chat_dir[64];	/* of sessions; new for each test */
extern int chat_requests;	/* so far */

void chat_setup(void);
void chat_teardown(void);
int chat_main(Suite *s);	/* the end of main; the suite is used up */

/* Start the worker with more arguments; the first NULL is their end. */
void chat_start(const char *a, const char *b, const char *c, const char *d);

void chat_say(struct chat *c, const char *role, const char *content);
json_t *chat_body_of(const struct chat *c, int max_tokens);

/* One more turn: what was said to it.  The end token is text like any other. */
const char *chat_turn(struct chat *c, const char *content, int max_tokens);

/* What accepted said of the last turn. */
int64_t chat_number(const struct chat *c, const char *member);
const char *chat_state(const struct chat *c);

/* The same turn without a session, and in a fork of it; to be freed. */
char *chat_reference(const struct chat *c, const char *content, int max_tokens);
char *chat_forked(const struct chat *c, const char *content, int max_tokens);

/* op on the session of key; get: it must succeed. */
int chat_operate(const char *key, const char *op, json_t **is, struct err *e);
json_t *chat_get(const char *key, const char *op);
int64_t chat_member_of(const char *key, const char *name);
void chat_wait_saved(const char *key);
void chat_path_of(const char *key, char path[200]);

#endif

#ifndef TESTS_FLEET_PEER_H
#define TESTS_FLEET_PEER_H

#include "http_client.h"
#include "process.h"

/*
 * A gateway and one or more real workers on the demo model, each in a directory
 * of its own, and what the tests of crashes do with them.
 */
enum { FLEET_PEERS = 3 };

struct fleet_worker {
	struct process process;
	char dir[64];
	char model_id[32];	/* "": as the file says */
	const char *binary;	/* below BUILD */
	int n_starts;
};

extern struct process fleet_gateway;
extern char fleet_dir[64];
extern int fleet_port;
extern const char *fleet_headers;	/* of all requests: lines with \r\n */
extern struct fleet_worker fleet_workers[FLEET_PEERS];

/* Start n workers, and the gateway with an --upstream for each; extra: more
 * arguments of the gateway, ends with NULL; or NULL.  binary: of all workers. */
void fleet_start(int n, const char *binary, const char *const extra[]);
void fleet_stop(void);

/* The gateway again, with the same arguments; sig: to end it before, or 0. */
void fleet_restart_gateway(int sig);

void fleet_start_worker(int i);
/* SIGKILL, and wait for its end. */
void fleet_kill(int i);
/* Wait for its own end, and start it again; its status. */
int fleet_revive(int i);

/* Until GET path has status. */
void fleet_wait(const char *path, int status);

/* POST a chat: members is JSON with ' for ", put before the message. */
void fleet_ask(struct http_client *c, const char *members,
    const char *message);

/* The text of a stream that must end well; freed by the caller.  Closes c. */
char *fleet_text(struct http_client *c);

/* Of /metrics; the sum over its labels. */
double fleet_metric(const char *name);

#endif

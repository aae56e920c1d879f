#ifndef MCP_DISPATCH_H
#define MCP_DISPATCH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "rpc.h"
#include "stack.h"
#include "tool.h"

/*
 * One message of a client in, at most one answer out, for both transports and
 * both eras of the protocol:
 *
 *	2025	opened by initialize (revisions to 2025-11-25); over HTTP the
 *		client then names its session
 *	2026	every request says its revision in params._meta; no state
 *
 * It changes nothing but the counters, so any thread may call.
 */
#define DISPATCH_META "io.modelcontextprotocol/"

struct dispatch {
	struct stack stack;
	struct tool_stats tools;
	atomic_uint_fast64_t messages, errors;
};

enum peer_session {
	PEER_NONE,	/* stdio: initialize has not come; HTTP: none is named */
	PEER_OPEN,
	PEER_UNKNOWN,	/* HTTP: the one that is named does not exist */
};

/* The client, as its transport knows it.  Strings are borrowed for the call. */
struct peer {
	enum peer_session session;
	bool http;		/* if not, the headers below are not asked for */
	const char *version, *method, *name;	/* MCP-Protocol-Version,
				 * Mcp-Method, Mcp-Name; NULL if absent */
};

struct answer {
	json_t *body;		/* owned; NULL: nothing to say */
	int http_status;
	bool opened;		/* initialize was answered: a session begins */
};

void dispatch(struct dispatch *d, const struct peer *p, const char *text,
    size_t n, struct answer *a);

/* The answer to what is refused before it is read; a new reference. */
json_t *dispatch_refusal(enum rpc_code code, const char *why);

/*
 * One era each.  m is a call.  *result is a new reference, or the code is
 * returned and is in e.  Called by dispatch alone.
 */
int era_2025_call(struct dispatch *d, const struct peer *p,
    const struct rpc_message *m, json_t **result, struct rpc_error *e);
int era_2026_call(struct dispatch *d, const struct peer *p,
    const struct rpc_message *m, json_t **result, struct rpc_error *e);

/* Is m of the 2026 era? */
bool era_2026_claims(const struct peer *p, const struct rpc_message *m);
/* May a message of the 2025 era come now from p?  0 or the code in e. */
int era_2025_admits(const struct peer *p, const struct rpc_message *m,
    struct rpc_error *e);

/* {name, title, version} of this server; a new reference. */
json_t *dispatch_server_info(void);
extern const char dispatch_instructions[];
/* tools/list for both eras: there is one page, so every cursor is a wrong one. */
int dispatch_tools_list(const struct rpc_message *m, json_t **result,
    struct rpc_error *e);

#endif

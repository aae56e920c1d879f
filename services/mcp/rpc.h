#ifndef MCP_RPC_H
#define MCP_RPC_H

#include <jansson.h>
#include <stddef.h>

/*
 * JSON-RPC 2.0 (jsonrpc.org/specification) as the Model Context Protocol
 * narrows it: params are an object, an id is a string or an integer and never
 * null, there are no batches.  Pure functions; nothing here knows a method or a
 * transport.
 */
enum {
	RPC_MESSAGE_MAX = 1 << 20,	/* bytes of one message */
	RPC_ID_MAX = 256,		/* bytes of a string id */
	RPC_METHOD_MAX = 128,		/* bytes of a method's name */
};

enum rpc_code {
	RPC_PARSE = -32700,	/* it is not JSON, or too deep, or too much */
	RPC_REQUEST = -32600,	/* it is not a message, or not now */
	RPC_METHOD = -32601,	/* there is no such method */
	RPC_PARAMS = -32602,
	RPC_INTERNAL = -32603,
	RPC_TRANSPORT = -32000,	/* HTTP headers of the 2025 era */
	RPC_SESSION = -32001,	/* there is no such session */
	RPC_HEADERS = -32020,	/* headers and body differ: 2026 era */
	RPC_VERSION = -32022,	/* protocol version not served: 2026 era */
};

struct rpc_error {
	enum rpc_code code;
	int http_status;	/* what goes with it over HTTP */
	char text[200];		/* one sentence, printable */
	json_t *data;		/* owned; NULL: none */
};

enum rpc_kind { RPC_CALL, RPC_NOTIFICATION, RPC_RESPONSE };

struct rpc_message {
	enum rpc_kind kind;
	json_t *obj;		/* owned; what the rest borrows from */
	json_t *id;		/* NULL: a notification, or not to be read */
	const char *method;	/* NULL in a response */
	json_t *params;		/* an object, empty if absent; NULL in a response */
};

/*
 * Fill *e; data is cleared.  Bytes of the sentence that a terminal would act on
 * become '?'.  Returns code.
 */
int rpc_fail(struct rpc_error *e, enum rpc_code code, int http_status,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/*
 * Read one message.  Returns 0 or the code in e.  m is to be freed either way:
 * after a failure m->id is what the error is to name, if it could be read.
 */
int rpc_parse(const char *text, size_t n, struct rpc_message *m,
    struct rpc_error *e);
void rpc_free(struct rpc_message *m);

/* The two answers, new references; result and e->data are taken. */
json_t *rpc_result(json_t *id, json_t *result);
json_t *rpc_error(json_t *id, struct rpc_error *e);

#endif

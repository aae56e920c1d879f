#ifndef MCP_TOOL_H
#define MCP_TOOL_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "field.h"
#include "metrics.h"
#include "rpc.h"
#include "stack.h"

/*
 * The tools: one struct each, one file per family, one sorted table in tool.c.
 * A tool is what MCP says of it and a function; it knows no protocol version
 * and no transport.
 */
struct tool {
	const char *name;		/* ^[a-z_]{1,64}$ */
	const char *title;
	const char *description;	/* for the model that chooses */
	const struct field *(*arguments)(void);	/* makes inputSchema, checks */
	const char *output_schema;	/* JSON Schema of *out, as text */
	bool read_only, destructive, idempotent, open_world;
	/*
	 * arguments has been checked against the table.  *out is a new object
	 * that conforms to output_schema.  A failure becomes a result with
	 * isError, since the model that called can act on it.
	 */
	int (*call)(const struct stack *s, const json_t *arguments,
	    json_t **out, struct err *e);
};

extern const struct tool tool_health, tool_kernel_timings, tool_list_models;

/* In the order of their names; ends with NULL. */
extern const struct tool *const tools[];
enum { TOOLS_MAX = 32, TOOL_RESULT_MAX = 1 << 20 /* bytes of text */ };

struct tool_stats {
	atomic_uint_fast64_t calls[TOOLS_MAX], errors[TOOLS_MAX];
	struct metrics_histogram seconds;
};

/* {tools: […]} for tools/list; a new reference, NULL if memory is short. */
json_t *tool_list(void);

/*
 * tools/call.  *result is a new reference; a tool that fails, or arguments that
 * it does not take, is a result with isError.  RPC_PARAMS when there is no such
 * tool or params are malformed.
 */
int tool_call(const struct stack *s, struct tool_stats *stats,
    const json_t *params, json_t **result, struct rpc_error *e);

#endif

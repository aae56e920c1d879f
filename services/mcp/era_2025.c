/*
 * The protocol with a handshake: revisions 2024-10-07 to 2025-11-25.  What this
 * server uses of it is the same in all of them.  Batches, which 2025-03-26 had
 * and 2025-06-18 took back, are not served in any.
 */
#include <string.h>

#include "dispatch.h"

static const char *const versions[] = {
	"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "2024-10-07",
	NULL
};

static const char *
find_version(const char *version)
{
	for (int i = 0; versions[i] != NULL; i++)
		if (strcmp(versions[i], version) == 0)
			return versions[i];
	return NULL;
}

static bool
is_method(const struct rpc_message *m, const char *method)
{
	return m->method != NULL && strcmp(m->method, method) == 0;
}

int
era_2025_admits(const struct peer *p, const struct rpc_message *m,
    struct rpc_error *e)
{
	/* An absent header means 2025-03-26, which is served too. */
	if (p->http && p->version != NULL && find_version(p->version) == NULL)
		return rpc_fail(e, RPC_TRANSPORT, 400,
		    "MCP-Protocol-Version '%.40s' is not served", p->version);
	if (is_method(m, "initialize"))
		return 0;
	if (p->session == PEER_UNKNOWN)
		return rpc_fail(e, RPC_SESSION, 404,
		    "there is no such session: initialize again");
	if (p->session == PEER_OPEN || (!p->http && is_method(m, "ping")))
		return 0;
	return p->http ? rpc_fail(e, RPC_TRANSPORT, 400,
	    "the Mcp-Session-Id header is missing: initialize first") :
	    rpc_fail(e, RPC_REQUEST, 400, "initialize first");
}

static int
initialize(const struct peer *p, const struct rpc_message *m, json_t **result,
    struct rpc_error *e)
{
	json_t *asked = json_object_get(m->params, "protocolVersion");
	json_t *capabilities = json_object_get(m->params, "capabilities");
	const char *version;

	if (p->session != PEER_NONE)
		return rpc_fail(e, RPC_REQUEST, 400, "initialized already");
	if (!json_is_string(asked))
		return rpc_fail(e, RPC_PARAMS, 400,
		    "'protocolVersion' is not a string");
	if (capabilities != NULL && !json_is_object(capabilities))
		return rpc_fail(e, RPC_PARAMS, 400,
		    "'capabilities' is not an object");
	/* A client that asks for another one decides whether ours will do. */
	version = find_version(json_string_value(asked));
	*result = json_pack("{s:s, s:{s:{s:b}}, s:o, s:s}",
	    "protocolVersion", version != NULL ? version : versions[0],
	    "capabilities", "tools", "listChanged", 0,
	    "serverInfo", dispatch_server_info(),
	    "instructions", dispatch_instructions);
	return 0;
}

/* Answers travel with 200 here, errors too, unless HTTP itself was misused. */
int
era_2025_call(struct dispatch *d, const struct peer *p,
    const struct rpc_message *m, json_t **result, struct rpc_error *e)
{
	int r = 0;

	if (is_method(m, "initialize"))
		return initialize(p, m, result, e);
	if (is_method(m, "ping"))
		*result = json_object();
	else if (is_method(m, "tools/list"))
		r = dispatch_tools_list(m, result, e);
	else if (is_method(m, "tools/call"))
		r = tool_call(&d->stack, &d->tools, m->params, result, e);
	else
		r = rpc_fail(e, RPC_METHOD, 200, "there is no method '%.128s'",
		    m->method);
	if (r != 0)
		e->http_status = 200;
	return r;
}

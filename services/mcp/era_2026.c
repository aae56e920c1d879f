/*
 * The protocol without state: revision 2026-07-28.  A request carries all that
 * it needs in params._meta; over HTTP three headers repeat what a proxy wants to
 * know and must agree with the body.
 */
#include <string.h>

#include "dispatch.h"

static const char version[] = "2026-07-28";

/* Lists change only with the program. */
enum { TTL_MS = 3600000 };

static json_t *
meta(const struct rpc_message *m, const char *name)
{
	return json_object_get(json_object_get(m->params, "_meta"), name);
}

/* Blanks around a header's value do not belong to it (RFC 9110, 5.5). */
static bool
is_value(const char *header, const char *value)
{
	size_t n = strlen(value);

	header += strspn(header, " \t");
	return strncmp(header, value, n) == 0 &&
	    header[n + strspn(header + n, " \t")] == '\0';
}

bool
era_2026_claims(const struct peer *p, const struct rpc_message *m)
{
	if (m->params != NULL &&
	    meta(m, DISPATCH_META "protocolVersion") != NULL)
		return true;
	if (m->method != NULL && strcmp(m->method, "server/discover") == 0)
		return true;
	return p->http && p->version != NULL && is_value(p->version, version);
}

static int
check_header(const char *name, const char *header, const char *body,
    struct rpc_error *e)
{
	if (header == NULL)
		return rpc_fail(e, RPC_HEADERS, 400,
		    "the %s header is missing", name);
	if (body == NULL || !is_value(header, body))
		return rpc_fail(e, RPC_HEADERS, 400,
		    "the %s header and the body differ", name);
	return 0;
}

static int
check_headers(const struct peer *p, const struct rpc_message *m,
    const char *asked, struct rpc_error *e)
{
	int r;

	if ((r = check_header("MCP-Protocol-Version", p->version, asked,
	    e)) != 0 ||
	    (r = check_header("Mcp-Method", p->method, m->method, e)) != 0)
		return r;
	if (strcmp(m->method, "tools/call") != 0)
		return 0;
	return check_header("Mcp-Name", p->name,
	    json_string_value(json_object_get(m->params, "name")), e);
}

static int
check_meta(const struct peer *p, const struct rpc_message *m,
    struct rpc_error *e)
{
	const char *asked =
	    json_string_value(meta(m, DISPATCH_META "protocolVersion"));
	int r;

	if (asked == NULL)
		return rpc_fail(e, RPC_PARAMS, 400, "'_meta' lacks "
		    DISPATCH_META "protocolVersion, a string");
	if (!json_is_object(meta(m, DISPATCH_META "clientCapabilities")))
		return rpc_fail(e, RPC_PARAMS, 400, "'_meta' lacks "
		    DISPATCH_META "clientCapabilities, an object");
	if (p->http && (r = check_headers(p, m, asked, e)) != 0)
		return r;
	if (strcmp(asked, version) == 0)
		return 0;
	rpc_fail(e, RPC_VERSION, 400, "protocol version '%.40s' is not served",
	    asked);
	e->data = json_pack("{s:[s], s:s}", "supported", version, "requested",
	    asked);
	return (int)e->code;
}

static json_t *
discover(void)
{
	return json_pack("{s:[s], s:{s:{}}, s:s}", "supportedVersions", version,
	    "capabilities", "tools", "instructions", dispatch_instructions);
}

static void
set_cacheable(json_t *result)
{
	json_object_set_new(result, "ttlMs", json_integer(TTL_MS));
	json_object_set_new(result, "cacheScope", json_string("public"));
}

int
era_2026_call(struct dispatch *d, const struct peer *p,
    const struct rpc_message *m, json_t **result, struct rpc_error *e)
{
	int r;

	if ((r = check_meta(p, m, e)) != 0)
		return r;
	if (strcmp(m->method, "server/discover") == 0)
		*result = discover();
	else if (strcmp(m->method, "tools/list") == 0)
		r = dispatch_tools_list(m, result, e);
	else if (strcmp(m->method, "tools/call") == 0)
		r = tool_call(&d->stack, &d->tools, m->params, result, e);
	else
		r = rpc_fail(e, RPC_METHOD, 404, "there is no method '%.128s'",
		    m->method);
	if (r != 0)
		return r;
	if (strcmp(m->method, "tools/call") != 0)
		set_cacheable(*result);
	json_object_set_new(*result, "resultType", json_string("complete"));
	json_object_set_new(*result, "_meta", json_pack("{s:o}",
	    DISPATCH_META "serverInfo", dispatch_server_info()));
	return 0;
}

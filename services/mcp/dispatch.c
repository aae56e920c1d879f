#include <string.h>

#include "conf.h"
#include "dispatch.h"

const char dispatch_instructions[] =
    "Tools that look into the 1bit inference stack of this machine: which"
    " models it serves and how its units are.  All of them only read.";

json_t *
dispatch_server_info(void)
{
	return json_pack("{s:s, s:s, s:s}", "name", "1bit-halo-mcp", "title",
	    "1bit", "version", ONEBIT_VERSION);
}

json_t *
dispatch_refusal(enum rpc_code code, const char *why)
{
	struct rpc_error e;

	rpc_fail(&e, code, 0, "%s", why);
	return rpc_error(NULL, &e);
}

int
dispatch_tools_list(const struct rpc_message *m, json_t **result,
    struct rpc_error *e)
{
	json_t *cursor = json_object_get(m->params, "cursor");

	if (cursor != NULL && !json_is_null(cursor))
		return rpc_fail(e, RPC_PARAMS, 400,
		    "'cursor' is not one that was given out");
	*result = tool_list();
	return *result != NULL ? 0 :
	    rpc_fail(e, RPC_INTERNAL, 500, "memory is short");
}

static int
call(struct dispatch *d, const struct peer *p, const struct rpc_message *m,
    struct answer *a, struct rpc_error *e)
{
	bool modern = era_2026_claims(p, m);
	json_t *result = NULL;
	int r;

	if (!modern && (r = era_2025_admits(p, m, e)) != 0)
		return r;
	if (m->kind != RPC_CALL) {
		/* Nothing runs long enough here to be cancelled, and an
		 * unknown notification is to be ignored. */
		a->http_status = 202;
		return 0;
	}
	r = modern ? era_2026_call(d, p, m, &result, e) :
	    era_2025_call(d, p, m, &result, e);
	if (r != 0)
		return r;
	a->body = rpc_result(m->id, result);
	a->opened = !modern && strcmp(m->method, "initialize") == 0;
	return 0;
}

void
dispatch(struct dispatch *d, const struct peer *p, const char *text, size_t n,
    struct answer *a)
{
	struct rpc_message m;
	struct rpc_error e;

	*a = (struct answer){ .http_status = 200 };
	d->messages++;
	if (rpc_parse(text, n, &m, &e) != 0 || call(d, p, &m, a, &e) != 0) {
		d->errors++;
		a->http_status = e.http_status;
		a->body = rpc_error(m.id, &e);
	}
	rpc_free(&m);
}

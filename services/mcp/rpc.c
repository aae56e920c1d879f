/*
 * The text is bounded before it is parsed (json.h), then checked member by
 * member in the order in which a sentence helps most: what kind of value, which
 * protocol, which id, and only then what is asked.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "rpc.h"

int
rpc_fail(struct rpc_error *e, enum rpc_code code, int http_status,
    const char *fmt, ...)
{
	va_list ap;

	*e = (struct rpc_error){ .code = code, .http_status = http_status };
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	/* Cutting or a caller may leave half a character: keep it ASCII. */
	for (char *p = e->text; *p != '\0'; p++)
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	return (int)code;
}

/* An id that may be echoed, or NULL with the reason in e. */
static json_t *
check_id(json_t *id, struct rpc_error *e)
{
	if (json_is_integer(id) ||
	    (json_is_string(id) && json_string_length(id) <= RPC_ID_MAX))
		return id;
	rpc_fail(e, RPC_REQUEST, 400, json_is_string(id) ?
	    "'id' is longer than %d bytes" :
	    "'id' is neither a string nor an integer", RPC_ID_MAX);
	return NULL;
}

static int
check_method(struct rpc_message *m, json_t *method, json_t *params,
    struct rpc_error *e)
{
	if (!json_is_string(method))
		return rpc_fail(e, RPC_REQUEST, 400, "'method' is not a string");
	if (json_string_length(method) == 0 ||
	    json_string_length(method) > RPC_METHOD_MAX)
		return rpc_fail(e, RPC_REQUEST, 400,
		    "'method' is not in 1..%d bytes", RPC_METHOD_MAX);
	if (params == NULL) {
		if ((params = json_object()) == NULL ||
		    json_object_set_new(m->obj, "params", params) != 0)
			return rpc_fail(e, RPC_INTERNAL, 500, "memory is short");
	} else if (!json_is_object(params)) {
		return rpc_fail(e, RPC_PARAMS, 400, "'params' is not an object");
	}
	m->method = json_string_value(method);
	m->params = params;
	return 0;
}

/* m->obj is an object: find out which of the three it is. */
static int
classify(struct rpc_message *m, struct rpc_error *e)
{
	json_t *id = json_object_get(m->obj, "id");
	json_t *method = json_object_get(m->obj, "method");
	const char *version =
	    json_string_value(json_object_get(m->obj, "jsonrpc"));

	if (id != NULL && (m->id = check_id(id, e)) == NULL) {
		/* An error may answer a message whose id was not readable. */
		if (!json_is_null(id) || method != NULL ||
		    json_object_get(m->obj, "error") == NULL)
			return (int)e->code;
	}
	if (version == NULL || strcmp(version, "2.0") != 0)
		return rpc_fail(e, RPC_REQUEST, 400, "'jsonrpc' is not \"2.0\"");
	if (method != NULL) {
		m->kind = id != NULL ? RPC_CALL : RPC_NOTIFICATION;
		return check_method(m, method, json_object_get(m->obj, "params"),
		    e);
	}
	if ((json_object_get(m->obj, "result") != NULL) ==
	    (json_object_get(m->obj, "error") != NULL))
		return rpc_fail(e, RPC_REQUEST, 400, "there is no 'method'");
	if (id == NULL)
		return rpc_fail(e, RPC_REQUEST, 400, "a response without 'id'");
	m->kind = RPC_RESPONSE;
	return 0;
}

int
rpc_parse(const char *text, size_t n, struct rpc_message *m,
    struct rpc_error *e)
{
	struct err cause;

	*m = (struct rpc_message){ 0 };
	if (n > RPC_MESSAGE_MAX)
		return rpc_fail(e, RPC_PARSE, 413,
		    "the message is longer than %d bytes", RPC_MESSAGE_MAX);
	if (json_guarded(text, n, &m->obj, &cause) != 0)
		return rpc_fail(e, RPC_PARSE, 400, "%s", cause.text);
	if (json_is_array(m->obj))
		return rpc_fail(e, RPC_REQUEST, 400,
		    "batches are not served: send one message at a time");
	if (!json_is_object(m->obj))
		return rpc_fail(e, RPC_REQUEST, 400,
		    "the message is not an object");
	return classify(m, e);
}

void
rpc_free(struct rpc_message *m)
{
	json_decref(m->obj);
	*m = (struct rpc_message){ 0 };
}

json_t *
rpc_result(json_t *id, json_t *result)
{
	return json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id,
	    "result", result);
}

json_t *
rpc_error(json_t *id, struct rpc_error *e)
{
	json_t *error = json_pack("{s:i, s:s}", "code", (int)e->code,
	    "message", e->text);
	json_t *answer;

	if (e->data != NULL)
		json_object_set_new(error, "data", e->data);
	e->data = NULL;
	answer = json_pack("{s:s, s:o}", "jsonrpc", "2.0", "error", error);
	json_object_set(answer, "id", id != NULL ? id : json_null());
	return answer;
}

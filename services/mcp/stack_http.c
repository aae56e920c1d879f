/*
 * The stack through the gateway's public routes, for a client on another
 * machine or without access to the sockets.  The answers come from a URL that a
 * user typed, so each member is checked for its kind and what is missing stays
 * unknown.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fetch.h"
#include "json.h"
#include "stack.h"

struct stack_http {
	char *url;		/* without a '/' at its end */
	const char *key;
	int timeout_ms;
};

/* GET path as a JSON object; *v is a new reference. */
static int
get(const struct stack_http *h, const char *path, int *status, json_t **v,
    struct err *e)
{
	struct buf url = { 0 }, body = { 0 };
	struct err why;
	int r;

	buf_printf(&url, "%s%s", h->url, path);
	if (url.failed)
		r = err_set(e, ERR_NO_MEMORY, "memory is short");
	else
		r = fetch(url.data, h->key, h->timeout_ms, status, &body, e);
	if (r == 0 && (json_guarded(body.data != NULL ? body.data : "",
	    body.len, v, &why) != 0))
		r = err_set(e, ERR_BAD_MESSAGE, "%s answered %d, not JSON: %s",
		    path, *status, why.text);
	buf_free(&url);
	buf_free(&body);
	return r;
}

static void
copy(char *to, size_t n, const json_t *obj, const char *name)
{
	const char *text = json_string_value(json_object_get(obj, name));

	/* Cut at n: what is cut inside a character would not be UTF-8. */
	if (text == NULL)
		text = "";
	snprintf(to, n, "%s", text);
	if (strlen(text) >= n)
		for (size_t i = n - 1; i > 0 && (to[i - 1] & 0x80) != 0; i--)
			to[i - 1] = '\0';
}

static int64_t
number(const json_t *obj, const char *name, int64_t unknown)
{
	const json_t *v = json_object_get(obj, name);

	return json_is_integer(v) && json_integer_value(v) >= 0 ?
	    json_integer_value(v) : unknown;
}

/* The sentence of an OpenAI error object, or its status. */
static int
refused(const char *path, int status, const json_t *v, struct err *e)
{
	const char *text = json_string_value(json_object_get(
	    json_object_get(v, "error"), "message"));

	return err_set(e, status == 503 ? ERR_UNAVAILABLE : ERR_SYSTEM,
	    "%s answered %d%s%.160s", path, status, text != NULL ? ": " : "",
	    text != NULL ? text : "");
}

static void
set_unit(struct stack_unit *u, const char *name, const json_t *v)
{
	*u = (struct stack_unit){ 0 };
	snprintf(u->unit, sizeof(u->unit), "%s", name);
	u->ready = json_is_true(json_object_get(v, "ready"));
	copy(u->reason, sizeof(u->reason), v, "reason");
	copy(u->version, sizeof(u->version), v, "version");
	u->uptime_ms = number(v, "uptime_ms", -1);
	copy(u->since, sizeof(u->since), v, "since");
}

/* The gateway answered, so it is up; the others are in "units". */
static int
read_units(int status, json_t *v, struct stack_unit *units)
{
	json_t *list = json_object_get(v, "units"), *x;
	const char *name;
	size_t i;
	int n = 0;

	if (json_is_object(list))
		json_object_foreach(list, name, x)
			if (n < STACK_UNITS_MAX - 1)
				set_unit(&units[n++], name, x);
	json_array_foreach(list, i, x) {
		name = json_string_value(json_object_get(x, "unit"));
		if (name != NULL && n < STACK_UNITS_MAX - 1)
			set_unit(&units[n++], name, x);
	}
	for (int k = 0; k < n; k++)
		if (strcmp(units[k].unit, "gateway") == 0)
			return n;
	set_unit(&units[n], "gateway", v);
	units[n].ready = status == 200;
	return n + 1;
}

static int
http_health(void *self, struct stack_unit *units)
{
	json_t *v = NULL;
	struct err e;
	int status, n;

	if (get(self, "/readyz?verbose", &status, &v, &e) == 0) {
		n = read_units(status, v, units);
		json_decref(v);
		return n;
	}
	units[0] = (struct stack_unit){ .unit = "decode", .uptime_ms = -1,
		.reason = "not known: the gateway does not answer" };
	units[1] = (struct stack_unit){ .unit = "gateway", .uptime_ms = -1 };
	snprintf(units[1].reason, sizeof(units[1].reason), "%s", e.text);
	return 2;
}

/* OpenAI's model object, with what llama-server and we add to it. */
static void
set_model(struct stack_model *m, const json_t *v)
{
	const json_t *meta = json_object_get(v, "meta");

	*m = (struct stack_model){ 0 };
	copy(m->id, sizeof(m->id), v, "id");
	copy(m->architecture, sizeof(m->architecture), meta, "architecture");
	copy(m->format, sizeof(m->format), meta, "format");
	copy(m->backend, sizeof(m->backend), meta, "backend");
	m->n_ctx = number(meta, "n_ctx", 0);
	m->n_ctx_train = number(meta, "n_ctx_train", 0);
	m->n_params = number(meta, "n_params", 0);
	m->size_bytes = number(meta, "size", 0);
}

static int
http_models(void *self, struct stack_model *models, int *n, struct err *e)
{
	static const char path[] = "/v1/models";
	json_t *v = NULL, *x;
	int status, count = 0, r;
	size_t i;

	if ((r = get(self, path, &status, &v, e)) != 0)
		return r;
	if (status != 200)
		r = refused(path, status, v, e);
	json_array_foreach(json_object_get(v, "data"), i, x)
		if (r == 0 && count < STACK_MODELS_MAX &&
		    json_is_string(json_object_get(x, "id")))
			set_model(&models[count++], x);
	json_decref(v);
	if (r == 0)
		*n = count;
	return r;
}

static int
http_kernels(void *self, struct stack_kernel *k, int *n, struct err *e)
{
	(void)self;
	(void)k;
	(void)n;
	return err_set(e, ERR_UNSUPPORTED, "the gateway does not tell: ask on the "
	    "worker's machine, without --server");
}

int
stack_http_open(struct stack *s, const char *url, const char *key,
    int timeout_ms, struct err *e)
{
	struct stack_http *h;
	size_t n = strlen(url);

	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return err_set(e, ERR_RANGE,
		    "--server '%.100s' begins with neither http:// nor https://",
		    url);
	while (n > 0 && url[n - 1] == '/')
		n--;
	if (strcspn(url, "?# \t") < n)
		return err_set(e, ERR_RANGE,
		    "--server '%.100s' is more than scheme, host, port and path",
		    url);
	if ((h = malloc(sizeof(*h))) == NULL ||
	    (h->url = strndup(url, n)) == NULL) {
		free(h);
		return err_set(e, ERR_NO_MEMORY, "memory is short");
	}
	h->key = key;
	h->timeout_ms = timeout_ms;
	*s = (struct stack){
		.self = h, .start_ms = clock_ms(),
		.health = http_health, .models = http_models,
		.kernels = http_kernels,
	};
	return 0;
}

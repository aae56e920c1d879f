#include <assert.h>
#include <string.h>
#include <strings.h>

#include "web_priv.h"

/*
 * The checks of a request, on a head taken apart by lines: the request line,
 * then `name: value`.  They decide what may be echoed, so what passes must be
 * harmless in a header.
 */
enum { TEXT_MAX = 8192, HEADERS_MAX = 80 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
handler(struct web_request *rq, void *arg)
{
	(void)rq;
	(void)arg;
}

static const struct web_route routes[] = {
	{ "GET", "/v1/models", handler, 0, WEB_PREFLIGHT },
	{ "POST", "/v1/chat/completions", handler, 1, WEB_PREFLIGHT },
	{ "GET", "/v1/models/*", handler, 0, 0 },
	{ "DELETE", "/v1/models/x", handler, 0, 0 },
	{ 0 }
};

/* End s at the first of the bytes in stop; what follows, or its end. */
static char *
cut(char *s, const char *stop)
{
	char *end = s + strcspn(s, stop);

	if (*end == '\0')
		return end;
	*end = '\0';
	return end + 1;
}

static int
split_headers(char *p, struct mg_header *h)
{
	char *line;
	int n;

	for (n = 0; *p != '\0' && n < HEADERS_MAX; n++) {
		line = p;
		p = cut(p, "\n");
		h[n].name = line;
		line = cut(line, ":");
		h[n].value = line + strspn(line, " \t");
	}
	return n;
}

static void
check_values(const struct mg_header *h, int n)
{
	const char *host = web_find_header(h, n, "Host");
	const char *origin = web_find_header(h, n, "Origin");
	const char *id = web_find_header(h, n, "X-Request-Id");
	const char *trace = web_find_header(h, n, "traceparent");
	const char *auth = web_find_header(h, n, "Authorization"), *key;

	key = web_check_bearer(auth);
	if (key != NULL)
		assert(key >= auth + 7 && *key != '\0' && *key != ' ');
	if (id != NULL && web_check_id(id))
		assert(web_check_value(id) && strlen(id) <= WEB_ID_MAX);
	if (trace != NULL && web_check_traceparent(trace))
		assert(web_check_value(trace) && strlen(trace) == 55);
	web_check_media(web_find_header(h, n, "Content-Type"));
	if (web_check_host(host, "127.0.0.1", "box.example", "a.example, *") != NULL)
		return;
	assert(web_check_value(host) && strpbrk(host, " /@,") == NULL);
	if (web_check_origin(origin, host, "*") == NULL && origin != NULL)
		assert(web_check_value(origin) && *origin != '\0' &&
		    strlen(origin) <= WEB_ORIGIN_MAX);
	/* What no list allows is loopback or the Host itself. */
	if (web_check_origin(origin, host, NULL) == NULL && origin != NULL)
		assert(strncasecmp(origin, "http", 4) == 0);
}

static void
check_target(const char *method, char *target)
{
	const char *query = cut(target, "?");
	struct web_match m;
	char value[16];

	memset(value, 'x', sizeof(value));
	if (web_find_query(query, "a", value, sizeof(value)))
		assert(memchr(value, '\0', sizeof(value)) != NULL);
	web_match(routes, method, target, &m);
	assert(memchr(m.allow, '\0', sizeof(m.allow)) != NULL);
	assert(m.route == NULL || m.allow[0] != '\0');
	assert(strchr(m.tail, '/') == NULL || strstr(target, "%2") != NULL);
	if (m.route != NULL && *m.tail == '\0')
		assert(strcmp(m.route->path, target) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char text[TEXT_MAX + 1];
	struct mg_header h[HEADERS_MAX];
	struct web_framing f;
	char *target, *version, *rest;
	int n_headers;

	if (n > TEXT_MAX)
		return 0;
	memcpy(text, data, n);
	text[n] = '\0';
	rest = cut(text, "\n");
	target = cut(text, " ");
	version = cut(target, " ");
	n_headers = split_headers(rest, h);
	if (web_check_framing(h, n_headers, version, &f) == NULL) {
		assert(f.length >= 0 && f.length <= 9999999999);
		assert(!f.chunked || f.length == 0);
		assert(n_headers <= WEB_HEADERS_MAX);
	}
	check_values(h, n_headers);
	if (web_check_path(target) || strchr(target, '?') != NULL)
		check_target(text, target);
	return 0;
}

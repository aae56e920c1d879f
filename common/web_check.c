#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "utf8.h"
#include "web_priv.h"

/*
 * What CivetWeb lets through and a second reader of the same bytes, a proxy,
 * might read otherwise is refused here, whether or not it could hurt: two
 * lengths, a length with a sign, no Host.
 */

#define REFUSAL(name, status, type, code, message)          \
	static const struct web_refusal name = { status, type, code, message }

REFUSAL(too_many_headers, 431, "invalid_request_error", "too_many_headers",
    "more than 63 headers");
REFUSAL(repeated_header, 400, "invalid_request_error", "bad_request",
    "a header that may come once came twice");
REFUSAL(two_lengths, 400, "invalid_request_error", "bad_request",
    "Content-Length and Transfer-Encoding exclude each other");
REFUSAL(bad_length, 400, "invalid_request_error", "bad_request",
    "Content-Length is not a number of 1 to 10 digits");
REFUSAL(bad_encoding, 400, "invalid_request_error", "bad_request",
    "the only Transfer-Encoding known is chunked, in HTTP/1.1");
REFUSAL(bad_expectation, 417, "invalid_request_error", "expectation_failed",
    "the only Expect known is 100-continue");
REFUSAL(no_host, 400, "invalid_request_error", "bad_request",
    "the Host header is missing or malformed");
REFUSAL(unknown_host, 421, "invalid_request_error", "unknown_host",
    "this server does not go by the name in the Host header: see --hosts");
REFUSAL(origin_not_allowed, 403, "permission_error", "origin_not_allowed",
    "pages from this Origin may not call this server");

const char *
web_find_header(const struct mg_header *h, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcasecmp(h[i].name, name) == 0)
			return h[i].value;
	return NULL;
}

/* Is there a header that may not be repeated, and is? */
static bool
any_repeated(const struct mg_header *h, int n)
{
	static const char *const once[] = { "Host", "Content-Length",
		"Transfer-Encoding", "Authorization", "X-Api-Key", "Origin",
		"Content-Type", "Expect" };
	size_t k;
	int i, seen;

	for (k = 0; k < sizeof(once) / sizeof(once[0]); k++) {
		for (i = seen = 0; i < n; i++)
			seen += strcasecmp(h[i].name, once[k]) == 0;
		if (seen > 1)
			return true;
	}
	return false;
}

const struct web_refusal *
web_check_framing(const struct mg_header *h, int n, const char *version,
    struct web_framing *f)
{
	const char *length, *encoding, *expect;
	size_t digits;

	*f = (struct web_framing){ 0 };
	if (n > WEB_HEADERS_MAX)
		return &too_many_headers;
	if (any_repeated(h, n))
		return &repeated_header;
	length = web_find_header(h, n, "Content-Length");
	encoding = web_find_header(h, n, "Transfer-Encoding");
	expect = web_find_header(h, n, "Expect");
	if (length != NULL && encoding != NULL)
		return &two_lengths;
	if (encoding != NULL) {
		if (strcasecmp(encoding, "chunked") != 0 ||
		    strcmp(version, "1.1") != 0)
			return &bad_encoding;
		f->chunked = true;
	}
	if (length != NULL) {
		digits = strspn(length, "0123456789");
		if (digits < 1 || digits > 10 || length[digits] != '\0')
			return &bad_length;
		f->length = strtoll(length, NULL, 10);
	}
	if (expect != NULL && strcasecmp(expect, "100-continue") != 0)
		return &bad_expectation;
	return NULL;
}

/*
 * Split "name", "name:port" or "[v6]:port" and copy the name, lower case and
 * without a final dot, into out [256].  Returns what follows it, ":port" or
 * "", or NULL if it is no such thing.
 */
static const char *
split_host(const char *s, char *out)
{
	size_t n = strspn(s, s[0] == '[' ? "[]0123456789abcdefABCDEF:." :
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
	const char *close, *end;
	size_t digits;

	if (s[0] == '[') {
		close = strchr(s, ']');
		if (close == NULL || (size_t)(close - s) >= n)
			return NULL;
		n = (size_t)(close - s) + 1;
	}
	if (n == 0 || n > 253)
		return NULL;
	end = s + n;
	if (*end == ':') {
		digits = strspn(end + 1, "0123456789");
		if (digits < 1 || digits > 5 || end[1 + digits] != '\0' ||
		    atoi(end + 1) > 65535)
			return NULL;
	} else if (*end != '\0')
		return NULL;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)tolower((unsigned char)s[i]);
	if (out[n - 1] == '.')
		n--;
	out[n] = '\0';
	return n > 0 ? end : NULL;
}

static bool
is_ip_literal(const char *host)
{
	char v6[INET6_ADDRSTRLEN + 1];
	unsigned char bytes[16];
	size_t n = strlen(host);

	if (host[0] != '[')
		return inet_pton(AF_INET, host, bytes) == 1;
	if (n < 3 || n - 2 >= sizeof(v6) || host[n - 1] != ']')
		return false;
	memcpy(v6, host + 1, n - 2);
	v6[n - 2] = '\0';
	return inet_pton(AF_INET6, v6, bytes) == 1;
}

static bool
is_loopback(const char *host)
{
	return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
	    (strncmp(host, "127.", 4) == 0 && is_ip_literal(host));
}

/* Is s in list, names separated by commas and blanks, or is that "*"? */
static bool
is_listed(const char *list, const char *s)
{
	size_t n = strlen(s), len;

	if (list == NULL)
		return false;
	for (const char *p = list; *p != '\0'; p += len) {
		p += strspn(p, ", ");
		len = strcspn(p, ", ");
		if ((len == n && strncasecmp(p, s, n) == 0) ||
		    (len == 1 && *p == '*'))
			return true;
	}
	return false;
}

/* What a container calls the machine that it runs on: nobody can register it. */
static const char container_hosts[] =
    "host.docker.internal, host.containers.internal";

/*
 * Does name mean the machine called own: that name, its first label, or this as
 * mDNS has it?
 */
static bool
is_own(const char *name, const char *own)
{
	size_t n = strcspn(own, ".");

	if (n == 0)
		return false;
	return strcasecmp(name, own) == 0 || (strncasecmp(name, own, n) == 0 &&
	    (name[n] == '\0' || strcmp(name + n, ".local") == 0));
}

const struct web_refusal *
web_check_host(const char *host, const char *bound, const char *own,
    const char *hosts)
{
	char name[256];

	if (host == NULL || split_host(host, name) == NULL)
		return &no_host;
	if (is_loopback(name) || is_ip_literal(name) ||
	    strcmp(name, bound) == 0 || is_own(name, own) ||
	    is_listed(container_hosts, name) || is_listed(hosts, name))
		return NULL;
	return &unknown_host;
}

const struct web_refusal *
web_check_origin(const char *origin, const char *host, const char *origins)
{
	char name[256];
	const char *authority;

	if (origin == NULL)
		return NULL;
	/* It comes back in a header, so listed or not it must be clean. */
	if (*origin == '\0' || strlen(origin) > WEB_ORIGIN_MAX ||
	    !web_check_value(origin) || strpbrk(origin, " ,\"\\<>") != NULL)
		return &origin_not_allowed;
	if (is_listed(origins, origin))
		return NULL;
	if (strncasecmp(origin, "http://", 7) == 0)
		authority = origin + 7;
	else if (strncasecmp(origin, "https://", 8) == 0)
		authority = origin + 8;
	else
		return &origin_not_allowed;
	if (split_host(authority, name) == NULL)
		return &origin_not_allowed;
	/* Our own pages: the Host, which was checked before, is the Origin. */
	if (is_loopback(name) || strcasecmp(authority, host) == 0)
		return NULL;
	return &origin_not_allowed;
}

bool
web_check_path(const char *path)
{
	if (path[0] != '/')
		return false;
	for (; *path != '\0'; path++)
		if (*path <= ' ' || *path > '~')
			return false;
	return true;
}

bool
web_check_id(const char *id)
{
	/* No blank, quote or bracket: it goes into log lines and headers. */
	size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/=+@~");

	return n >= 1 && n <= WEB_ID_MAX && id[n] == '\0';
}

/* Version 00: trace id, parent id and flags, the ids not all zeros. */
bool
web_check_traceparent(const char *s)
{
	static const size_t digits[] = { 2, 32, 16, 2 };

	for (size_t i = 0; i < 4; i++) {
		size_t n = strspn(s, "0123456789abcdef");

		if (n != digits[i] || s[n] != (i < 3 ? '-' : '\0') ||
		    (i == 0 && strncmp(s, "00", 2) != 0) ||
		    ((i == 1 || i == 2) && strspn(s, "0") >= n))
			return false;
		s += n + 1;
	}
	return true;
}

bool
web_check_value(const char *value)
{
	for (; *value != '\0'; value++)
		if (*value < ' ' || *value > '~')
			return false;
	return true;
}

const char *
web_check_bearer(const char *authorization)
{
	const char *key = authorization;

	if (key == NULL || strncasecmp(key, "Bearer ", 7) != 0)
		return NULL;
	key += 7 + strspn(key + 7, " ");
	return *key != '\0' && web_check_value(key) ? key : NULL;
}

enum web_media
web_check_media(const char *content_type)
{
	size_t n;

	if (content_type == NULL)
		return WEB_MEDIA_MAYBE;
	n = strcspn(content_type, "; \t");
	if ((n == 16 && strncasecmp(content_type, "application/json", n) == 0) ||
	    (n > 5 && strncasecmp(content_type + n - 5, "+json", 5) == 0))
		return WEB_MEDIA_JSON;
	/* What curl -d says of anything. */
	if (n == 0 || (n == 33 && strncasecmp(content_type,
	    "application/x-www-form-urlencoded", n) == 0))
		return WEB_MEDIA_MAYBE;
	return WEB_MEDIA_OTHER;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode s [n], in which `blank` is one, into out [size]; false if it is malformed
 * or does not fit. */
static bool
decode(const char *s, size_t n, char blank, char *out, size_t size)
{
	size_t i, k = 0;
	int c;

	for (i = 0; i < n; i++) {
		c = s[i] == blank ? ' ' : (unsigned char)s[i];
		if (c == '%') {
			if (n - i < 3 || hex_value(s[i + 1]) < 0 ||
			    hex_value(s[i + 2]) < 0)
				return false;
			c = hex_value(s[i + 1]) * 16 + hex_value(s[i + 2]);
			i += 2;
		}
		if (c == 0 || k + 1 >= size)
			return false;
		out[k++] = (char)c;
	}
	if (k >= size)
		return false;
	out[k] = '\0';
	return true;
}

/* What name is in query, raw, its length in *n; NULL if it is not there. */
static const char *
query_value(const char *query, const char *name, size_t *n)
{
	size_t len, key, n_name = strlen(name);

	for (const char *p = query; *p != '\0'; p += len + (p[len] == '&')) {
		len = strcspn(p, "&");
		key = strcspn(p, "=&");
		if (key != n_name || strncmp(p, name, key) != 0)
			continue;
		*n = key == len ? 0 : len - key - 1;
		return key == len ? "" : p + key + 1;
	}
	return NULL;
}

bool
web_find_query(const char *query, const char *name, char *out, size_t n)
{
	size_t len;
	const char *value = query_value(query, name, &len);

	return value != NULL && decode(value, len, '+', out, n);
}

bool
web_has_query(const char *query, const char *name)
{
	size_t len;

	return query_value(query, name, &len) != NULL;
}

bool
web_unescape(const char *s, size_t n, char *out, size_t size)
{
	if (!decode(s, n, ' ', out, size))
		return false;
	for (size_t len; *out != '\0'; out += len)
		if ((len = utf8_char(out, strlen(out))) == 0 ||
		    (unsigned char)*out < ' ' || *out == 0x7f)
			return false;
	return true;
}

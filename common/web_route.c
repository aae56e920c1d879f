#include <string.h>

#include "web_priv.h"

/*
 * Bytes are compared, nothing is decoded, folded or cleaned: a path is the one
 * in the table or it is unknown.
 */

/* Does path match?  *tail becomes where what the "*" stands for begins, and *n
 * its length. */
static bool
path_matches(const char *pattern, const char *path, const char **tail,
    size_t *n)
{
	const char *star = strstr(pattern, "/*");
	size_t before = star == NULL ? 0 : (size_t)(star + 1 - pattern);

	*tail = "";
	*n = 0;
	if (star == NULL)
		return strcmp(pattern, path) == 0;
	if (strncmp(pattern, path, before) != 0)
		return false;
	*tail = path + before;
	*n = strcspn(*tail, "/");
	return *n > 0 && strcmp(star + 2, *tail + *n) == 0 &&
	    (star[2] == '\0' || *n <= WEB_SEGMENT_MAX);
}

static bool
method_matches(const char *of_route, const char *method)
{
	return strcmp(of_route, method) == 0 ||
	    (strcmp(method, "HEAD") == 0 && strcmp(of_route, "GET") == 0);
}

/* Append name to a list separated by ", " unless it is there. */
static void
allow_add(char *list, size_t size, const char *name)
{
	size_t n = strlen(list);

	if (strstr(list, name) != NULL || n + strlen(name) + 3 > size)
		return;
	if (n > 0) {
		memcpy(list + n, ", ", 3);
		n += 2;
	}
	memcpy(list + n, name, strlen(name) + 1);
}

void
web_match(const struct web_route *routes, const char *method,
    const char *path, struct web_match *m)
{
	const struct web_route *r;
	const char *tail;
	size_t n;

	*m = (struct web_match){ .tail = "" };
	for (r = routes; r->path != NULL; r++) {
		if (!path_matches(r->path, path, &tail, &n))
			continue;
		m->flags |= r->flags;
		allow_add(m->allow, sizeof(m->allow), r->method);
		if (strcmp(r->method, "GET") == 0)
			allow_add(m->allow, sizeof(m->allow), "HEAD");
		if (!method_matches(r->method, method))
			continue;
		/* A path written out goes before one with a "*". */
		if (m->route != NULL && (*m->tail == '\0' || *tail != '\0'))
			continue;
		m->route = r;
		m->tail = tail;
		if (tail[n] != '\0') {
			memcpy(m->segment, tail, n);
			m->segment[n] = '\0';
			m->tail = m->segment;
		}
	}
	if (m->flags & WEB_PREFLIGHT)
		allow_add(m->allow, sizeof(m->allow), "OPTIONS");
}

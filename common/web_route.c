#include <string.h>

#include "web_priv.h"

/*
 * Bytes are compared, nothing is decoded, folded or cleaned: a path is the one
 * in the table or it is unknown.  Only what a "*" stands for is a name of
 * somebody's, in which clients escape what they like: there escapes are decoded,
 * after the path was taken apart.
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
	return *n > 0 && strcmp(star + 2, *tail + *n) == 0;
}

/* Must what the "*" stands for be copied, and if so, can it be? */
static bool
take_segment(const char *tail, size_t n, char out[WEB_SEGMENT_MAX + 1])
{
	out[0] = '\0';
	return (tail[n] == '\0' && memchr(tail, '%', n) == NULL) ||
	    web_unescape(tail, n, out, WEB_SEGMENT_MAX + 1);
}

static bool
has_head(const struct web_route *r)
{
	return strcmp(r->method, "GET") == 0 && (r->flags & WEB_NO_HEAD) == 0;
}

static bool
method_matches(const struct web_route *r, const char *method)
{
	return strcmp(r->method, method) == 0 ||
	    (strcmp(method, "HEAD") == 0 && has_head(r));
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
	char segment[WEB_SEGMENT_MAX + 1];
	const struct web_route *r;
	const char *tail;
	size_t n;

	*m = (struct web_match){ .tail = "" };
	for (r = routes; r->path != NULL; r++) {
		if (!path_matches(r->path, path, &tail, &n) ||
		    !take_segment(tail, n, segment))
			continue;
		m->flags |= r->flags;
		allow_add(m->allow, sizeof(m->allow), r->method);
		if (has_head(r))
			allow_add(m->allow, sizeof(m->allow), "HEAD");
		if (!method_matches(r, method))
			continue;
		/* A path written out goes before one with a "*". */
		if (m->route != NULL && (*m->tail == '\0' || *tail != '\0'))
			continue;
		m->route = r;
		strcpy(m->segment, segment);
		m->tail = segment[0] != '\0' ? m->segment : tail;
	}
	if (m->flags & WEB_PREFLIGHT)
		allow_add(m->allow, sizeof(m->allow), "OPTIONS");
}

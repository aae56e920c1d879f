/*
 * An http:// upstream is asked once where its sockets are.  It is the only
 * outgoing HTTP request of the gateway, to an address that its operator gave.
 */
#include <curl/curl.h>
#include <string.h>

#include "buf.h"
#include "json.h"
#include "upstream_state.h"

enum { ANSWER_MAX = 16384, TIMEOUT_MS = 2000 };

static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
	struct buf *b = arg;

	if (b->len + size * n > ANSWER_MAX)
		return 0;
	buf_add(b, data, size * n);
	return size * n;
}

static int
get(const char *url, struct buf *body, struct err *e)
{
	CURL *c = curl_easy_init();
	long status = 0;
	CURLcode rc;
	int r = 0;

	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for libcurl");
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
	if ((rc = curl_easy_perform(c)) != CURLE_OK)
		r = err_set(e, ERR_UNAVAILABLE, "%s: %s", url,
		    curl_easy_strerror(rc));
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	if (r == 0 && status != 200)
		r = err_set(e, ERR_UNAVAILABLE, "%s: status %ld", url, status);
	curl_easy_cleanup(c);
	return r;
}

int
discover(const char *url, char *dir, size_t n, struct err *e)
{
	struct buf full = { 0 }, body = { 0 };
	const char *found;
	json_t *v = NULL;
	size_t len = strlen(url);
	int r;

	while (len > 0 && url[len - 1] == '/')
		len--;
	buf_add(&full, url, len);
	buf_adds(&full, "/v1/endpoints");
	if (full.failed)
		r = err_set(e, ERR_NO_MEMORY, "no memory for a URL");
	else if ((r = get(full.data, &body, e)) == 0)
		r = json_guarded(body.data != NULL ? body.data : "", body.len,
		    &v, e);
	if (r == 0) {
		found = json_string_value(json_object_get(v, "runtime_dir"));
		if (found == NULL || found[0] != '/' || strlen(found) >= n)
			r = err_set(e, ERR_BAD_MESSAGE, "%s names no runtime "
			    "directory", full.data);
		else
			strcpy(dir, found);
	}
	json_decref(v);
	buf_free(&body);
	buf_free(&full);
	return r;
}

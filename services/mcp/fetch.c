#include <curl/curl.h>
#include <stdio.h>

#include "fetch.h"

int
fetch_init(struct err *e)
{
	CURLcode r = curl_global_init(CURL_GLOBAL_DEFAULT);

	return r == CURLE_OK ? 0 :
	    err_set(e, ERR_SYSTEM, "libcurl: %s", curl_easy_strerror(r));
}

/* Returning less than n makes libcurl end the transfer. */
static size_t
take(char *data, size_t size, size_t n, void *arg)
{
	struct buf *body = arg;

	n *= size;
	if (body->len + n > FETCH_MAX)
		return 0;
	buf_add(body, data, n);
	return body->failed ? 0 : n;
}

static void
set_options(CURL *c, const char *url, int timeout_ms, char *why,
    struct buf *body)
{
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	/* What is asked is on this machine or named by its owner: a proxy from
	 * the environment would see it for nothing. */
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "1bit-halo-mcp");
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
}

int
fetch(const char *url, const char *key, int timeout_ms, int *status,
    struct buf *body, struct err *e)
{
	char why[CURL_ERROR_SIZE] = "";
	CURL *c = curl_easy_init();
	CURLcode r;
	long code = 0;

	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, "memory is short");
	set_options(c, url, timeout_ms, why, body);
	if (key != NULL) {
		curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
		curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, key);
	}
	if ((r = curl_easy_perform(c)) == CURLE_OK)
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &code);
	curl_easy_cleanup(c);
	if (r != CURLE_OK)
		return err_set(e, r == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT :
		    ERR_UNAVAILABLE, "%s: %s", url,
		    why[0] != '\0' ? why : curl_easy_strerror(r));
	*status = (int)code;
	return 0;
}

#include <string.h>

#include "download.h"

int
download_check_url(const char *url, struct err *e)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *user = NULL;
	int rc = 0;

	if (u == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a URL");
	if (strlen(url) > MANIFEST_URL_MAX)
		rc = err_set(e, ERR_RANGE, "the URL has more than %d bytes",
		    MANIFEST_URL_MAX);
	else if (curl_url_set(u, CURLUPART_URL, url,
	    CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
		rc = err_set(e, ERR_RANGE, "'%.150s' is no URL", url);
	else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
		rc = err_set(e, ERR_UNSUPPORTED, "'%.150s': %.20s is not "
		    "spoken, only http and https", url, scheme);
	else if (curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_OK)
		rc = err_set(e, ERR_UNSUPPORTED, "a URL with a user or "
		    "password is not taken: it would end in a manifest");
	curl_free(scheme);
	curl_free(user);
	curl_url_cleanup(u);
	return rc;
}

void
download_setup(CURL *c, const char *url, int stall_s, char *why)
{
	bool safe = strncmp(url, "https:", 6) == 0;

	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR,
	    safe ? "https" : "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)DOWNLOAD_REDIRECTS_MAX);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)stall_s);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1024L);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)stall_s);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "1bit-halo-pkg");
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
}

struct text {
	struct buf *b;
	size_t max;
};

/* Returning less than n makes libcurl end the transfer. */
static size_t
take(char *data, size_t size, size_t n, void *arg)
{
	struct text *t = arg;

	n *= size;
	if (t->b->len + n > t->max)
		return 0;
	buf_add(t->b, data, n);
	return t->b->failed ? 0 : n;
}

int
download_text(const char *url, size_t max, int stall_s, struct buf *b,
    struct err *e)
{
	char why[CURL_ERROR_SIZE] = "";
	struct text t = { b, max };
	CURL *c = curl_easy_init();
	long status = 0;
	CURLcode r;

	buf_clear(b);
	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a transfer");
	download_setup(c, url, stall_s, why);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &t);
	if ((r = curl_easy_perform(c)) == CURLE_OK)
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(c);
	if (r == CURLE_WRITE_ERROR)
		return err_set(e, ERR_BAD_MESSAGE, "%.150s: more than %zu bytes",
		    url, max);
	if (r != CURLE_OK)
		return err_set(e, ERR_UNAVAILABLE, "%.120s: %.100s", url,
		    why[0] != '\0' ? why : curl_easy_strerror(r));
	if (status == 200)
		return 0;
	return err_set(e, status == 404 ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
	    "%.150s: the server answers %ld", url, status);
}

/*
 * One attempt is one request.  Nothing of an answer is written before begin()
 * has found, from its status and headers, that its bytes go where the file
 * ends; if they do not, the file is emptied and, where the answer is no good,
 * asked for once more.  The sum is taken along the way, over the bytes that
 * were there before too.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "download.h"
#include "sha256.h"

enum { READ_BYTES = 1 << 16, LONG_BYTES = 256 << 20 };

struct head {			/* of the answer that comes last */
	char etag[MANIFEST_TAG_MAX + 1], modified[MANIFEST_TAG_MAX + 1];
	int64_t first, total;	/* of Content-Range, -1: absent */
	bool chunked;
};

struct transfer {
	struct download *d;
	CURL *c;
	int fd;
	int64_t at;		/* bytes in the file */
	int64_t old;		/* of these, from an earlier attempt */
	int64_t total;		/* -1: not known */
	struct sha256 sum;	/* of them */
	struct head head;
	bool begun;		/* begin() was called */
	bool again;		/* the file was emptied: ask for all of it */
	bool complete;		/* nothing is missing: 416 */
	int rc;			/* of what our callbacks found */
	struct err *e;
};

static int
fail(struct transfer *t, const char *what)
{
	return err_set(t->e, ERR_SYSTEM, "%.120s: %s: %s", t->d->part, what,
	    strerror(errno));
}

/* Empty the file. */
static int
restart(struct transfer *t, const char *why)
{
	if (t->at > 0 && why != NULL)
		t->d->note(t->d->arg, why);
	t->at = 0;
	sha256_init(&t->sum);
	if (ftruncate(t->fd, 0) != 0)
		return fail(t, "cannot be emptied");
	return lseek(t->fd, 0, SEEK_SET) != 0 ? fail(t, "no file") : 0;
}

/* What an earlier attempt left goes into the sum. */
static int
read_part(struct transfer *t)
{
	unsigned char *b = malloc(READ_BYTES);
	struct stat st;
	ssize_t n = -1;

	sha256_init(&t->sum);
	t->at = 0;
	if (fstat(t->fd, &st) == 0 && st.st_size > LONG_BYTES)
		t->d->note(t->d->arg, "reading what is here, for its sum");
	while (b != NULL && (n = read(t->fd, b, READ_BYTES)) > 0) {
		sha256_add(&t->sum, b, (size_t)n);
		t->at += n;
	}
	free(b);
	return n < 0 ? fail(t, "cannot be read") : 0;
}

static void
copy_value(const char *from, size_t n, char out[MANIFEST_TAG_MAX + 1])
{
	while (n > 0 && (*from == ' ' || *from == '\t')) {
		from++;
		n--;
	}
	while (n > 0 && (unsigned char)from[n - 1] <= ' ')
		n--;
	if (n > MANIFEST_TAG_MAX)
		n = 0;
	memcpy(out, from, n);
	out[n] = '\0';
	for (size_t i = 0; i < n; i++)
		if (out[i] < ' ' || out[i] == 0x7f)
			out[0] = '\0';
}

/* "bytes 5-9/10", or "bytes * /10" without the blank. */
static void
parse_range(const char *text, struct head *h)
{
	const char *slash = strchr(text, '/');

	if (strncasecmp(text, "bytes ", 6) != 0 || slash == NULL)
		return;
	if (text[6] != '*')
		h->first = strtoll(text + 6, NULL, 10);
	if (slash[1] >= '0' && slash[1] <= '9')
		h->total = strtoll(slash + 1, NULL, 10);
}

static size_t
on_header(char *line, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	char range[MANIFEST_TAG_MAX + 1];
	struct head *h = &t->head;

	n *= size;
	if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0)
		*h = (struct head){ .first = -1, .total = -1 };
	else if (n > 5 && strncasecmp(line, "ETag:", 5) == 0)
		copy_value(line + 5, n - 5, h->etag);
	else if (n > 14 && strncasecmp(line, "Last-Modified:", 14) == 0)
		copy_value(line + 14, n - 14, h->modified);
	else if (n > 18 && strncasecmp(line, "Transfer-Encoding:", 18) == 0)
		h->chunked = true;
	else if (n > 14 && strncasecmp(line, "Content-Range:", 14) == 0) {
		copy_value(line + 14, n - 14, range);
		parse_range(range, h);
	}
	return n;
}

/* What a later attempt can name in If-Range: no weak tag. */
static const char *
validator(const struct head *h)
{
	return h->etag[0] == '"' ? h->etag : h->modified;
}

static int
refuse_status(struct transfer *t, long status)
{
	const char *url = t->d->file->url;

	if (status == 404 || status == 410)
		return err_set(t->e, ERR_NOT_FOUND, "%.170s: there is no such "
		    "file (%ld)", url, status);
	if (status == 401 || status == 403)
		return err_set(t->e, ERR_UNSUPPORTED, "%.110s: only after a "
		    "login (%ld), which is not offered here: fetch it with a "
		    "browser", url, status);
	if (status == 408 || status == 429 || status >= 500)
		return err_set(t->e, ERR_UNAVAILABLE, "%.170s: the server "
		    "answers %ld", url, status);
	return err_set(t->e, ERR_BAD_MESSAGE, "%.170s: the server answers %ld",
	    url, status);
}

/* Is there room for what is missing? */
static int
check_room(struct transfer *t)
{
	struct statvfs fs;
	uint64_t room;

	if (t->total < 0 || fstatvfs(t->fd, &fs) != 0)
		return 0;
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if ((uint64_t)(t->total - t->at) <= room)
		return 0;
	return err_set(t->e, ERR_SYSTEM, "%.100s: %" PRId64 " bytes are "
	    "missing, and the disk has room for %" PRIu64, t->d->part,
	    t->total - t->at, room);
}

static int
begin_part(struct transfer *t)
{
	struct manifest_file *f = t->d->file;
	const char *now = validator(&t->head);

	t->total = t->head.total;
	if (t->head.first == t->at && (now[0] == '\0' ||
	    f->validator[0] == '\0' || strcmp(now, f->validator) == 0))
		return 0;
	t->again = true;
	return restart(t, "the server has sent another part than was asked "
	    "for: from the beginning");
}

/* Status and headers are there; the body, if any, follows. */
static int
begin(struct transfer *t)
{
	struct manifest_file *f = t->d->file;
	curl_off_t length = -1;
	long status = 0;
	int rc = 0;

	t->begun = true;
	curl_easy_getinfo(t->c, CURLINFO_RESPONSE_CODE, &status);
	if (status == 206 && t->at > 0) {
		rc = begin_part(t);
	} else if (status == 200) {
		curl_easy_getinfo(t->c, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T,
		    &length);
		t->total = length;
		rc = restart(t, "the server sends it from the beginning: it "
		    "has changed, or parts are not offered");
	} else if (status == 416 && t->at > 0) {
		t->complete = t->head.total == t->at;
		t->total = t->at;
		if (t->complete)
			f->size = t->at;
		t->again = !t->complete;
		if (t->again)
			rc = restart(t, "what is here is not of this file: from "
			    "the beginning");
	} else
		rc = refuse_status(t, status);
	if (rc != 0 || t->again || t->complete)
		return rc;
	if (f->size >= 0 && t->total >= 0 && f->size != t->total &&
	    f->expected[0] != '\0')
		return err_set(t->e, ERR_BAD_FILE, "%.120s: %" PRId64 " bytes, "
		    "but %" PRId64 " are expected", f->url, t->total, f->size);
	snprintf(f->validator, sizeof(f->validator), "%s",
	    validator(&t->head));
	f->size = t->total;
	rc = check_room(t);
	return rc != 0 ? rc : t->d->remember(t->d->arg, t->e);
}

/* Returning less than n makes libcurl end the transfer. */
static size_t
on_data(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	n *= size;
	if (!t->begun && (t->rc = begin(t)) != 0)
		return 0;
	if (t->again || t->complete)
		return 0;
	if (t->total >= 0 && (int64_t)n > t->total - t->at) {
		t->rc = err_set(t->e, ERR_BAD_MESSAGE, "%.150s: more bytes than "
		    "%" PRId64 " come", t->d->file->url, t->total);
		return 0;
	}
	for (size_t done = 0; done < n; ) {
		ssize_t k = write(t->fd, data + done, n - done);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			t->rc = fail(t, "cannot be written");
			return 0;
		}
		sha256_add(&t->sum, data + done, (size_t)k);
		done += (size_t)k;
		t->at += k;
	}
	return n;
}

static int
on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	struct transfer *t = arg;

	(void)a;
	(void)b;
	(void)c;
	(void)d;
	if (t->begun)
		t->d->progress(t->d->arg, t->at, t->total);
	return 0;
}

static int
refuse_transfer(struct transfer *t, CURLcode r, const char *why)
{
	const char *url = t->d->file->url;

	if (r == CURLE_TOO_MANY_REDIRECTS)
		return err_set(t->e, ERR_BAD_MESSAGE, "%.150s: more than %d "
		    "redirects", url, DOWNLOAD_REDIRECTS_MAX);
	if (r == CURLE_UNSUPPORTED_PROTOCOL)
		return err_set(t->e, ERR_UNSUPPORTED, "%.150s: leads to another "
		    "protocol, which is not followed", url);
	if (r == CURLE_OPERATION_TIMEDOUT)
		return err_set(t->e, ERR_TIMEOUT, "%.130s: less than 1 KiB a "
		    "second came for %d s", url, t->d->stall_s);
	return err_set(t->e, r == CURLE_URL_MALFORMAT ? ERR_RANGE :
	    ERR_UNAVAILABLE, "%.120s: %.100s", url, why[0] != '\0' ? why :
	    curl_easy_strerror(r));
}

/* The answer ended well.  Was that all? */
static int
check_end(struct transfer *t)
{
	struct manifest_file *f = t->d->file;
	curl_off_t length = -1;
	long version = 0;

	if (t->total >= 0 && t->at != t->total)
		return err_set(t->e, ERR_UNAVAILABLE, "%.120s: ended after "
		    "%" PRId64 " of %" PRId64 " bytes", f->url, t->at,
		    t->total);
	curl_easy_getinfo(t->c, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	curl_easy_getinfo(t->c, CURLINFO_HTTP_VERSION, &version);
	if (t->total < 0 && length < 0 && !t->head.chunked &&
	    version < CURL_HTTP_VERSION_2_0 && f->expected[0] == '\0')
		return err_set(t->e, ERR_BAD_MESSAGE, "%.120s: the server does "
		    "not say how long it is; give --sha256 to know that it is "
		    "whole", f->url);
	f->size = t->at;
	return 0;
}

static int
attempt(struct transfer *t)
{
	char why[CURL_ERROR_SIZE] = "", range[32], if_range[MANIFEST_TAG_MAX +
	    16];
	struct curl_slist *headers = NULL;
	CURLcode r;

	t->begun = t->again = t->complete = false;
	t->rc = 0;
	t->total = -1;
	t->head = (struct head){ .first = -1, .total = -1 };
	curl_easy_reset(t->c);
	download_setup(t->c, t->d->file->url, t->d->stall_s, why);
	curl_easy_setopt(t->c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(t->c, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(t->c, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(t->c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(t->c, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(t->c, CURLOPT_XFERINFODATA, t);
	if (t->at > 0) {
		snprintf(range, sizeof(range), "%" PRId64 "-", t->at);
		curl_easy_setopt(t->c, CURLOPT_RANGE, range);
		if (t->d->file->validator[0] != '\0') {
			snprintf(if_range, sizeof(if_range), "If-Range: %s",
			    t->d->file->validator);
			headers = curl_slist_append(NULL, if_range);
			curl_easy_setopt(t->c, CURLOPT_HTTPHEADER, headers);
		}
	}
	r = curl_easy_perform(t->c);
	curl_slist_free_all(headers);
	if (r == CURLE_OK && !t->begun)
		t->rc = begin(t);
	if (t->rc != 0 || t->again || t->complete)
		return t->rc;
	return r != CURLE_OK ? refuse_transfer(t, r, why) : check_end(t);
}

static int
finish(struct transfer *t)
{
	struct manifest_file *f = t->d->file;
	uint8_t sum[SHA256_SIZE], wanted[SHA256_SIZE];
	char hex[MANIFEST_SHA_LEN + 1];

	sha256_finish(&t->sum, sum);
	for (int i = 0; i < SHA256_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	if (f->expected[0] != '\0' && (!sha256_from_hex(f->expected, wanted) ||
	    !sha256_equal(sum, wanted))) {
		/* A second wrong sum is no slip of who gave it. */
		if (t->old > 0 && restart(t, NULL) != 0)
			return ERR_SYSTEM;
		return err_set(t->e, ERR_BAD_FILE, "%.40s: sha256 is %s, "
		    "expected %.64s", f->path, hex, f->expected);
	}
	if (fsync(t->fd) != 0)
		return fail(t, "cannot be synced");
	memcpy(f->sha256, hex, sizeof(hex));
	return 0;
}

int
download_run(struct download *d, struct err *e)
{
	struct transfer t = { .d = d, .e = e };
	int rc;

	t.fd = openat(d->dir, d->part, O_RDWR | O_CREAT | O_CLOEXEC |
	    O_NOFOLLOW, 0644);
	if (t.fd < 0)
		return fail(&t, "cannot be opened");
	if ((t.c = curl_easy_init()) == NULL) {
		close(t.fd);
		return err_set(e, ERR_NO_MEMORY, "no memory for a transfer");
	}
	rc = read_part(&t);
	t.old = t.at;
	if (rc == 0 && t.at > 0 && d->file->validator[0] == '\0' &&
	    d->file->expected[0] == '\0')
		rc = restart(&t, "there is nothing to tell by whether it is "
		    "still the same: from the beginning");
	if (rc == 0)
		rc = attempt(&t);
	/* Emptied: what comes now is an answer to a request for all of it. */
	if (rc == 0 && t.again)
		rc = attempt(&t);
	if (rc == 0)
		rc = finish(&t);
	curl_easy_cleanup(t.c);
	close(t.fd);
	return rc;
}

#ifndef DOWNLOAD_H
#define DOWNLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include <curl/curl.h>

#include "buf.h"
#include "err.h"
#include "manifest.h"

/*
 * One file over HTTP or HTTPS, through libcurl, into a file that is continued
 * where an earlier attempt ended.  No other protocol is spoken, not after a
 * redirect either; one from https to http is not followed.
 *
 * Continuing is asked for with If-Range (RFC 9110, 13.1.5), so a file that has
 * changed at the server comes whole and is never spliced; where there is
 * nothing to compare by and no sum is known, it is fetched from the start.
 */
enum { DOWNLOAD_REDIRECTS_MAX = 5, DOWNLOAD_STALL_S = 30 };

struct download {
	int dir;			/* descriptor of the directory of */
	const char *part;		/* the file that grows */
	/* url, expected and size are read; what was learned is written, sha256
	 * at the end of a success. */
	struct manifest_file *file;
	int stall_s;			/* so long under 1 KiB/s is an end */
	/* Called before the first byte of an attempt is written: validator and
	 * size of *file are to be remembered. */
	int (*remember)(void *arg, struct err *e);
	/* at of total bytes are there (total -1: not known); any time. */
	void (*progress)(void *arg, int64_t at, int64_t total);
	void (*note)(void *arg, const char *text);	/* one sentence */
	void *arg;
};

/*
 * Fetch it, or what is missing of it.  ERR_UNAVAILABLE and ERR_TIMEOUT may go
 * away when it is tried again; all that has come is kept.  ERR_BAD_FILE: whole,
 * but not of the expected sum or size; it is kept if all of it came just now, in
 * case the sum was wrong, and emptied if not.  ERR_SYSTEM: the disk is full, or
 * another failure of this machine.
 */
int download_run(struct download *d, struct err *e);

/* The whole answer to a GET, at most max bytes; b is emptied before. */
int download_text(const char *url, size_t max, int stall_s, struct buf *b,
    struct err *e);

/* Is url one of http or https, with a host and without a password? */
int download_check_url(const char *url, struct err *e);

/* The options that every transfer has. */
void download_setup(CURL *c, const char *url, int stall_s, char *why);

#endif

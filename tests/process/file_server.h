#ifndef TESTS_FILE_SERVER_H
#define TESTS_FILE_SERVER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * An HTTP server on 127.0.0.1 that serves what a test gives it, as badly as it
 * is told.  One thread, one connection at a time, one per process; it answers
 * ranges and If-Range as RFC 9110 says unless told otherwise.
 */
enum serve_how {
	SERVE_WELL,
	SERVE_CUT,		/* `cut` bytes of the body, then the end */
	SERVE_STALL,		/* `cut` bytes, then nothing until they leave */
	SERVE_WHOLE,		/* ranges are not offered: 200 */
	SERVE_SPLICED,		/* a range whatever If-Range says */
	SERVE_SHIFTED,		/* a range one byte off */
	SERVE_OVERLONG,		/* more body than Content-Length */
	SERVE_UNMEASURED,	/* no Content-Length: the end is the end */
	SERVE_CHUNKED,
	SERVE_STATUS,		/* `status` and an empty body */
	SERVE_REDIRECT,		/* 302 to `text` */
};

struct served {
	const char *path;
	const char *text;	/* the body; NULL: n bytes of file_server_byte */
	size_t n;		/* bytes; 0 with a text: its length */
	const char *etag;	/* with its quotes, or NULL */
	enum serve_how how;
	size_t cut;
	int status;
	int times;		/* do so so often, then well; 0: always */
	char salt;		/* another one, other bytes */
};

/* Byte i of a body that no text is given for. */
char file_server_byte(size_t i, char salt);

void file_server_start(int *port);

/* From now on; list [n] is copied, its strings are not. */
void file_server_serve(const struct served *list, size_t n);

/* Requests since then; whether one had this line ("Range: bytes=5-"). */
int file_server_requests(void);
bool file_server_saw(const char *line);

/* Wait until this many body bytes went out since then. */
void file_server_wait_sent(size_t n);

#endif

#ifndef DECODE_MODEL_FILE_H
#define DECODE_MODEL_FILE_H

#include "model/model.h"

/* The bytes of a .h1b: its file mapped, or what was read of it. */
struct model_file {
	void *bytes;		/* read-only; 64-byte aligned */
	size_t n;
	bool mapped;
	struct memory memory;	/* unless mapped */
	int64_t time;		/* of the last change, Unix seconds */
};

/*
 * As o says.  ERR_NOT_FOUND, ERR_SYSTEM, ERR_BAD_FILE for what is no regular file
 * or too short for a header; ERR_NO_MEMORY.
 */
int model_file_open(const char *path, const struct model_open_options *o,
    struct model_file *f, struct err *e);
void model_file_close(struct model_file *f);

#endif

#ifndef DECODE_SESSION_DIR_H
#define DECODE_SESSION_DIR_H

#include <stddef.h>
#include <stdint.h>

#include "decode.h"
#include "err.h"

/* A directory of snapshots.  Any thread. */
struct session_file {
	char key[DECODE_SESSION_LEN + 1];
	int64_t bytes, used_ns;
};

enum { SESSION_PATH = 600 };

/* Path of key's file. */
void session_dir_path(const char *dir, const char *key, char path[SESSION_PATH]);

/* Make dir, which nobody else may look into, and check that it can be written
 * to; what an interrupted save left is deleted. */
int session_dir_open(const char *dir, struct err *e);

/* All its files, used longest ago first: *files [*n], to be freed. */
int session_dir_list(const char *dir, struct session_file **files, size_t *n,
    struct err *e);

/* It was used now. */
void session_dir_touch(const char *path);

#endif

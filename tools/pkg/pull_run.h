#ifndef PULL_RUN_H
#define PULL_RUN_H

#include <stdbool.h>

#include "err.h"
#include "manifest.h"
#include "meter.h"
#include "store.h"

/*
 * From a manifest that says what is wanted to a model in the directory.  Files
 * come to NAME.part (a directory for a checkpoint), with NAME.part.json beside
 * it; when all are there, whole and as expected, NAME.part becomes NAME by one
 * rename.  So NAME is whole or absent at any moment, and whatever ends a pull,
 * a signal or a power cut included, the next one goes on from what is there.
 */
struct pull {
	struct store store;
	struct manifest m;	/* name, source, files; the rest is filled in */
	struct meter meter;
	bool force;		/* replace NAME, or half of another source */
	int stall_s, retries;
	/* of pull_run.c */
	char part[STORE_PATH_MAX], journal[STORE_PATH_MAX];
	int dir;		/* where files are written */
};

enum pull_result { PULL_DONE, PULL_THERE_ALREADY };

/*
 * Do it, under the lock of the name.  PULL_THERE_ALREADY: the same source was
 * pulled before, and m is what was found.  On failure *kept is what is left
 * for the next attempt, bytes.
 */
int pull_run(struct pull *p, enum pull_result *result, int64_t *kept,
    struct err *e);

#endif

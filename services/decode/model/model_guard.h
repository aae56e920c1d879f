#ifndef DECODE_MODEL_GUARD_H
#define DECODE_MODEL_GUARD_H

#include "model/model.h"

/*
 * A file that becomes shorter while it is mapped raises SIGBUS where it is read
 * next.  Nothing can go on then; with this, the process says which file it was,
 * in one line on stderr, and exits with status 1.  Any other SIGBUS ends the
 * process as it would have.
 *
 * For the one model of a process, opened from path; what is installed stays.
 * Nothing happens for a model that is not a mapped file.
 */
void model_guard(const struct model *m, const char *path);

#endif

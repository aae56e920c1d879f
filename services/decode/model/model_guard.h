#ifndef DECODE_MODEL_GUARD_H
#define DECODE_MODEL_GUARD_H

#include "model/model.h"

/*
 * A file that becomes shorter while it is mapped raises SIGBUS where it is read
 * next.  Nothing can go on then; with this, the process says which file it was,
 * in one line on stderr, and ends.  A SIGBUS that is none of a mapping ends the
 * process as it would have.
 *
 * Before path is opened, whatever is in it: until the next call every SIGBUS of a
 * mapping is taken to be this file's.  The line begins with who, and the status is
 * the one given.
 */
void model_guard_open(const char *who, const char *path, int status);

/*
 * For the one model of a worker, opened from path: what is installed stays, and is
 * for this model alone; its status is 1.  Nothing is, for a model that is not a
 * mapped file.
 */
void model_guard(const struct model *m, const char *path);

#endif

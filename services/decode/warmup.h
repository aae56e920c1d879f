#ifndef DECODE_WARMUP_H
#define DECODE_WARMUP_H

#include "backend/backend.h"
#include "err.h"
#include "pace.h"
#include "selfcheck.h"

/*
 * How fast a worker is that has served nobody yet: a step of one row, timed, and
 * one of a few, unless the self-check of a large model was that.  b was opened
 * with o and has not begun to serve: page 0 is overwritten.  What b->forward
 * returns, ERR_NO_MEMORY.
 */
int warmup_run(const struct model_config *m, struct backend *b,
    const struct backend_options *o, const struct selfcheck_result *check,
    struct pace_start *out, struct err *e);

#endif

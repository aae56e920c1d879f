#ifndef DECODE_MODEL_SOURCE_H
#define DECODE_MODEL_SOURCE_H

#include "model/h1b.h"

/*
 * A model as the source of another file: to hold its embedding in another type,
 * or to give it a name or a probe.
 */

/*
 * Fill *s but for name, origin and what is the writer's; it borrows from m, and
 * arg is m.  Rows may be asked for in any order, by any thread.
 */
void model_source(struct model *m, struct h1b_source *s);

#endif

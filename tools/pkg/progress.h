#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A bar on standard error, if that is a terminal; drawn at most ten times a
 * second.  arg is not used; the signature is that of h1b_source.
 */
void progress_show(void *arg, uint64_t done, uint64_t total);
void progress_end(void);	/* removes it */

#endif

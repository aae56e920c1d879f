#ifndef DECODE_STORE_START_H
#define DECODE_STORE_START_H

#include "service.h"

enum { SESSION_DIR_MAX = 501 };	/* bytes of its path, with the NUL */

/* Open sv->store where the options say; without one the log says why.  After the
 * engine, before its thread. */
void store_start(struct service *sv);

/* Save what is to be saved at the end, when the engine's thread is over. */
void store_stop(struct service *sv);

/* on_turn of struct engine_config; arg is the service. */
void store_turn(void *arg, const char *key);

#endif

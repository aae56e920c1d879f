#ifndef MCP_LINES_H
#define MCP_LINES_H

#include "dispatch.h"

/*
 * MCP on a pair of descriptors: one JSON message a line each way.  Serves until
 * the end of in, which is how a desktop client says good-bye.  Returns 0, or
 * ERR_SYSTEM when in cannot be read or out takes no more.
 */
int lines_serve(struct dispatch *d, int in, int out, struct err *e);

#endif

#ifndef GATEWAY_UNIT_ANSWER_H
#define GATEWAY_UNIT_ANSWER_H

#include "bus.h"

/* gateway.sock: health and stats of proto/unit.h.  arg: struct gateway. */
bus_handler unit_answer;

#endif

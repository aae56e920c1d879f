#ifndef PROTO_UNIT_H
#define PROTO_UNIT_H

#include "field.h"
#include "frame.h"

/*
 * What every unit answers on its REP socket (decode.sock, gateway.sock, …):
 *
 *	asker				unit
 *	  | -- health ------------------> |
 *	  | <------ health_is ----------- |
 *	  | -- stats -------------------> |
 *	  | <------ stats_are ----------- |
 *
 * Numbers below 16 belong to this list; a unit's own messages start at 16.
 */
#define UNIT_MESSAGES(M)                                                  \
	M(1, health, UNIT_HEALTH, "how are you?")                         \
	M(2, health_is, UNIT_HEALTH_IS, "reply: ready or not, and why")   \
	M(3, stats, UNIT_STATS, "what have you done?")                    \
	M(4, stats_are, UNIT_STATS_ARE, "reply: counters since the start")

enum { UNIT_KERNELS_MAX = 32 };

#define UNIT_HEALTH(F)
#define UNIT_STATS(F)

#define UNIT_HEALTH_IS(F)                                                     \
	F(STR, unit, 1, 32, NULL, "bytes", "decode, gateway, mcp, stt, tts")  \
	F(STR, boot, 16, 16, NULL, "bytes", "of this life of the process")    \
	F(BOOL, ready, 0, 0, NULL, "", "does it serve requests")              \
	F(STR, reason, 0, 240, "\"\"", "bytes", "why it is not ready")        \
	F(STR, version, 1, 32, NULL, "bytes", "of the program")               \
	F(INT, uptime_ms, 0, 9007199254740991., NULL, "ms", "since its start")

/* kernels: [{name, calls, ns, bytes}]: how often, the time in which the unit did
 * nothing else, and what was read of weights and caches. */
#define UNIT_STATS_ARE(F)                                                 \
	F(STR, unit, 1, 32, NULL, "bytes", "as in health_is")             \
	F(JSON, values, 0, 256, NULL, "numbers", "by name; names end in their unit") \
	F(JSON, kernels, 0, UNIT_KERNELS_MAX, "[]", "kinds",              \
	    "work of the unit's model by kind: {name, calls, ns, bytes}")

enum unit_type {
#define M(number, name, LIST, doc) UNIT_TYPE_##name = (number),
	UNIT_MESSAGES(M)
#undef M
};

FIELD_STRUCT(unit_health_is, UNIT_HEALTH_IS);
FIELD_STRUCT(unit_stats_are, UNIT_STATS_ARE);

#endif

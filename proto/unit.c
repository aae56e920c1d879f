#include "unit.h"

FIELD_TABLE(unit_health_is, UNIT_HEALTH_IS)
FIELD_TABLE(unit_stats_are, UNIT_STATS_ARE)

#include "options.h"

FIELD_TABLE(mcp_options, MCP_OPTIONS)

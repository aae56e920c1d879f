#ifndef MCP_OPTIONS_H
#define MCP_OPTIONS_H

#include "field.h"

#define MCP_OPTIONS(F)                                                        \
	F(STR, bind, 0, 64, "\"\"", "", "HOST:PORT to serve Streamable HTTP;" \
	    " without it, MCP is spoken on stdin and stdout")                 \
	F(STR, server, 0, 512, "\"\"", "", "URL of the gateway, asked instead" \
	    " of the sockets")                                                \
	F(STR, api_key_file, 0, 512, "\"\"", "", "its first line is the key"  \
	    " for --server")                                                  \
	F(STR, runtime_dir, 0, 80, "\"\"", "", "where the sockets are; \"\":" \
	    " $RUNTIME_DIRECTORY, else /run/1bit-halo, or without an"         \
	    " installation $XDG_RUNTIME_DIR/1bit-halo")                       \
	F(INT, timeout_ms, 50, 60000, "2000", "ms", "for each unit asked")    \
	F(INT, threads, 2, 512, "64", "", "HTTP connections served at once")  \
	F(STR, hosts, 0, 1024, "\"\"", "", "host names that HTTP clients may" \
	    " use besides localhost and addresses, with commas")              \
	F(STR, origins, 0, 1024, "\"\"", "", "web origins that may call,"     \
	    " besides those of this machine, with commas")                    \
	F(STR, log_format, 4, 4, "\"text\"", "", "text or json")              \
	F(BOOL, verbose, 0, 0, "false", "", "log more")

FIELD_STRUCT(mcp_options, MCP_OPTIONS);

#endif

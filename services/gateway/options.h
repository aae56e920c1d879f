#ifndef GATEWAY_OPTIONS_H
#define GATEWAY_OPTIONS_H

#include "field.h"
#include "fleet.h"

#define GATEWAY_OPTIONS(F)                                                    \
	F(STR, bind, 1, 64, "\"127.0.0.1:8180\"", "host:port",                \
	    "where HTTP is served; IPv4")                                     \
	F(STR, runtime_dir, 0, 80, "\"\"", "path",                            \
	    "where the sockets are; empty: $RUNTIME_DIRECTORY, /run/1bit-halo, or " \
	    "without an installation $XDG_RUNTIME_DIR/1bit-halo")             \
	F(JSON, upstream, 0, FLEET_MAX, "[]", "URL|DIR",                      \
	    "a worker's http:// address, asked once for its sockets, or "     \
	    "their directory; once for each worker; none: runtime_dir")       \
	F(STR, api_key_file, 0, 4096, "\"\"", "path",                         \
	    "keys, one per line, see --help; empty: no key is asked for")     \
	F(INT, key_rpm, 0, 1000000000, "0", "requests",                       \
	    "a minute, of each key that does not say; 0: no limit")           \
	F(INT, key_tpm, 0, 1000000000, "0", "tokens",                         \
	    "a minute, likewise")                                             \
	F(INT, session_rpm, 0, 1000000000, "0", "requests",                   \
	    "a minute, of each session; 0: no limit")                         \
	F(INT, session_tpm, 0, 1000000000, "0", "tokens",                     \
	    "a minute, likewise")                                             \
	F(BOOL, share_prefixes, 0, 0, "false", "",                            \
	    "keys share cached prompts, and may see from the time it takes "  \
	    "what others asked")                                              \
	F(STR, hosts, 0, 1024, "\"\"", "names",                               \
	    "Host names besides localhost and IP addresses, with commas, or *") \
	F(STR, origins, 0, 1024, "\"\"", "origins",                           \
	    "web pages that may call, with commas, or *; loopback may")       \
	F(INT, max_streams, 1, 1024, "512", "requests",                        \
	    "answered at once; more get 429")                                 \
	F(INT, request_timeout_s, 1, 86400, "3600", "s",                      \
	    "after which a request is given up")                              \
	F(INT, resume_timeout_s, 1, 3600, "30", "s",                          \
	    "how long a stream waits for a worker that went away")            \
	F(INT, resume_window_s, 0, 86400, "300", "s",                         \
	    "how long a stream is kept for a client that comes back")         \
	F(INT, resume_window_mb, 1, 65536, "64", "MiB",                       \
	    "of what is kept so; the oldest go first")                        \
	F(INT, drain_timeout_s, 0, 3600, "30", "s",                           \
	    "how long open requests may go on after SIGTERM")                 \
	F(STR, log_format, 4, 4, "\"text\"", "", "text or json")              \
	F(BOOL, verbose, 0, 0, "false", "", "also log probes and replays")

FIELD_STRUCT(gateway_options, GATEWAY_OPTIONS);

/* What the table cannot say: what an upstream is called, a log format. */
int gateway_options_check(const struct gateway_options *o, struct err *e);

#endif

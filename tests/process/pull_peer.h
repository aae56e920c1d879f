#ifndef TESTS_PULL_PEER_H
#define TESTS_PULL_PEER_H

#include <check.h>
#include <jansson.h>
#include <stdbool.h>

#include "file_server.h"
#include "process.h"

/*
 * 1bit-halo-pkg with a directory of models of its own, and what tests of it ask
 * again and again.  What is returned is static and lives for some calls.
 */
#define PULL_PKG BUILD "/bin/1bit-halo-pkg"

extern char pull_dir[64], pull_store[128];	/* the second in the first */
extern char pull_text[16384];			/* what the last run printed */
extern int pull_port;				/* of file_server.h */

/* Run it with these arguments and --dir; its status. */
int pull_run(const char *const args[]);
#define RUN(...) pull_run((const char *const[]){ __VA_ARGS__, NULL })

void pull_says(const char *wanted);
const char *pull_url(const char *path);
char *pull_path(const char *name);	/* in the store */
long pull_size(const char *name);	/* bytes, -1: not there */
bool pull_there(const char *name);
json_t *pull_manifest(const char *name);	/* a new reference */

/* A whole program: fills the case, runs it, returns what main returns. */
int pull_main(const char *name, void (*fill)(TCase *t));

#endif

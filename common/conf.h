#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include <jansson.h>

#include "err.h"
#include "field.h"

/*
 * The options of a program, one table (field.h) each.  A value comes from, the
 * later winning:
 *
 *	the table's default
 *	the file of --config: lines `name value`, `#` comments
 *	the environment: PREFIX_NAME, e.g. HALO_DECODE_PORT
 *	the command line: --name value, --name=value; a BOOL alone is true
 *
 * A '-' in an option or a file is a '_' in the table.  A JSON member is an
 * option that may be given more than once; in the environment its values are
 * separated by commas.  Every program also has --config FILE, --help (-h),
 * --version, and -n, which checks all options, prints the values in force
 * as lines that --config would accept, and exits 0.
 */
struct conf_program {
	const char *name;	/* "bitnet_decode" */
	const char *summary;	/* one sentence for --help */
	const char *env_prefix;	/* "HALO_DECODE_" */
	const char *details;	/* the rest of --help: files, exit status, examples */
	/* What the table cannot say, asked of the decoded struct before it is
	 * used or printed; its failure is conf_load's.  NULL: nothing. */
	int (*check)(const void *values, struct err *e);
};

enum conf_action { CONF_RUN, CONF_EXIT };

/*
 * Read all sources into obj (a new, empty object) and decode it to *out.
 * --help, --version and -n print to stdout and set *action to CONF_EXIT.  The
 * sentence of e starts with where the fault is.  Strings of *out live as long
 * as obj.
 */
int conf_load(const struct conf_program *p, const struct field *fields,
    size_t size, int argc, char *argv[], json_t *obj, void *out,
    enum conf_action *action, struct err *e);

/* For main: conf_load, and exits with 0 after CONF_EXIT, with 2 and the
 * sentence on stderr after a failure.  Also conf_standard_fds. */
void conf_main(const struct conf_program *p, const struct field *fields,
    size_t size, int argc, char *argv[], void *out);

/* For main, first of all: a standard descriptor that is closed becomes one on
 * which the right direction fails (stdin, stdout) or vanishes (stderr).  Else
 * the next file or socket would get its number, and what is logged. */
void conf_standard_fds(void);

/* The runtime directory: given if not "", else $RUNTIME_DIRECTORY, else
 * /run/1bit-halo; where that is not there and only root could make it,
 * $XDG_RUNTIME_DIR/1bit-halo, so that who has installed nothing need not say one.
 * Borrowed. */
const char *conf_runtime_dir(const char *given);

#define ONEBIT_VERSION "0.1.0"

#endif

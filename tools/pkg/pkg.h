#ifndef PKG_H
#define PKG_H

#include <stdbool.h>

#include "buf.h"
#include "err.h"
#include "model/model.h"

/*
 * 1bit-halo-pkg: one command a file.  A command gets its own arguments and
 * returns the status of the process.
 */
enum {
	PKG_OK = 0,
	PKG_BAD = 1,		/* it ran, and the answer is no */
	PKG_UNUSABLE = 2,	/* arguments or files it cannot work with */
};

/* A flag sets *flag, an option with a value *value (borrowed from argv). */
struct pkg_option {
	const char *name;	/* "--head"; NULL ends a table */
	const char **value;
	bool *flag;
};

/*
 * Take argv [argc] apart: options in any place, "--name value" or
 * "--name=value", "--" before names that begin with '-'; exactly n_files
 * others go to files.
 */
int pkg_options(int argc, char *argv[], const struct pkg_option *options,
    const char **files, int n_files, struct err *e);

/* "1bit-halo-pkg: sentence" on stderr; returns PKG_UNUSABLE. */
int pkg_fail(const struct err *e);

/*
 * --head: how embedding or head, *type with *group columns of a factor, will be
 * held: as head says, or if it is NULL, floats as int8.  What is int8 already, or
 * packed as head says, stays as exact as it came.  ERR_RANGE for another word.
 */
int pkg_head(const char *head, enum dense_type *type, int32_t *group,
    struct err *e);

/* --body: how ternary matrices will be held, T2 if it is NULL.  ERR_RANGE for
 * another word than t2 and b3. */
int pkg_body(const char *body, enum ternary_form *form, struct err *e);

/* Bytes as "15.7 MB". */
void pkg_size(double bytes, char out[32]);

int pkg_convert(int argc, char *argv[]);
int pkg_info(int argc, char *argv[]);
int pkg_verify(int argc, char *argv[]);
int pkg_synth(int argc, char *argv[]);
int pkg_tokenize(int argc, char *argv[]);
int pkg_detokenize(int argc, char *argv[]);
int pkg_pull(int argc, char *argv[]);
int pkg_list(int argc, char *argv[]);
int pkg_rm(int argc, char *argv[]);

#endif

#ifndef COMMON_CONF_HELP_H
#define COMMON_CONF_HELP_H

#include <stdio.h>

#include "conf.h"

/* What conf.c prints: the page of --help, and the lines of -n from obj. */
void conf_help(const struct conf_program *p, const struct field *fields,
    FILE *fp);
void conf_print(const struct field *fields, const json_t *obj, FILE *fp);

/* The environment variable of member name, into out [n]. */
void conf_env_name(const struct conf_program *p, const char *name, char *out,
    size_t n);

#endif

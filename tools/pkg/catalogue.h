#ifndef CATALOGUE_H
#define CATALOGUE_H

#include <stddef.h>

/*
 * Names for what people ask for most.  An entry says where a model is published
 * and no more: which files there are, how long they are and what sums they
 * have, the hub's index says when it is pulled.  Nothing is pinned here.
 */
struct catalogue_entry {
	const char *name;	/* as in `pull NAME`, and in the directory */
	const char *repository;	/* owner/name on the hub */
	const char *file;	/* pattern of one file, or NULL: a checkpoint */
	const char *licence;	/* by its publisher's own words */
	const char *note;
};

extern const struct catalogue_entry catalogue[];	/* ends with { 0 } */

const struct catalogue_entry *catalogue_find(const char *name);

#endif

#ifndef HUB_H
#define HUB_H

#include "err.h"
#include "manifest.h"

/*
 * The index of a model hub (Hugging Face's HTTP interface, of which two GETs
 * are used): GET /api/models/OWNER/NAME/revision/REV says which commit that is,
 * GET /api/models/OWNER/NAME/tree/COMMIT which files it has.  All files of a
 * pull are of that one commit.
 */
struct hub_request {
	const char *hub;	/* "https://huggingface.co" */
	const char *repository;	/* "owner/name" */
	const char *revision;	/* branch, tag or commit */
	const char *file;	/* pattern (fnmatch) of the one file wanted, or
				 * NULL: a whole checkpoint */
	int stall_s;
};

/* "owner/name" or "owner/name@revision", taken apart. */
int hub_parse(const char *text, char repository[STORE_NAME_MAX + 1],
    char revision[STORE_NAME_MAX + 1], struct err *e);

/*
 * Fill files, directory, revision and licence of *m; its other members stay
 * empty.  Without `file` these are config.json, the tokenizer's files, the
 * licence and all .safetensors; where there are none, the only .gguf.
 */
int hub_list(const struct hub_request *r, struct manifest *m, struct err *e);

/* The two answers, for hub_list and its tests.  *m is to be finished whatever
 * they return. */
int hub_take_commit(const char *text, size_t n, struct manifest *m,
    struct err *e);
int hub_take_tree(const struct hub_request *r, const char *text, size_t n,
    struct manifest *m, struct err *e);

#endif

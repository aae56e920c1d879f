#include <stdio.h>

#include "manifest.h"
#include "pkg.h"
#include "store.h"

/* Is there a model of that name, or what a pull left of one? */
static bool
is_model(const struct store *s, const char *name)
{
	char file[STORE_PATH_MAX];

	return store_format(s, name) != NULL ||
	    store_exists(s, store_beside(name, ".manifest.json", file)) ||
	    store_exists(s, store_beside(name, ".part.json", file));
}

/* The model goes first: what is left when this is cut short can be removed by
 * the same command. */
static int
remove_all(const struct store *s, const char *name, struct err *e)
{
	static const char *const beside[] = { "", ".part", ".part.json",
		".part.json.new", ".manifest.json", ".manifest.json.new" };
	char file[STORE_PATH_MAX];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(beside) / sizeof(*beside); i++)
		rc = store_remove(s, store_beside(name, beside[i], file), e);
	return rc;
}

int
pkg_rm(int argc, char *argv[])
{
	const char *dir = NULL, *name;
	struct store s;
	struct err e;
	int rc, lock;
	const struct pkg_option options[] = {
		{ "--dir", &dir, NULL }, { 0 },
	};

	if (pkg_options(argc, argv, options, &name, 1, &e) != 0 ||
	    store_check_name(name, &e) != 0 ||
	    store_open(&s, dir, false, &e) != 0)
		return pkg_fail(&e);
	if (!is_model(&s, name)) {
		rc = err_set(&e, ERR_NOT_FOUND, "%.120s holds no model '%.90s'",
		    s.path, name);
	} else if ((rc = store_lock(&s, name, &lock, &e)) == 0) {
		rc = remove_all(&s, name, &e);
		store_unlock(&s, name, lock);
	}
	if (rc == 0)
		printf("removed %s/%s\n", s.path, name);
	store_close(&s);
	return rc != 0 ? pkg_fail(&e) : PKG_OK;
}

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session.h"
#include "session_dir.h"

#define SUFFIX ".kv"

void
session_dir_path(const char *dir, const char *key, char path[SESSION_PATH])
{
	snprintf(path, SESSION_PATH, "%.500s/%.64s" SUFFIX, dir, key);
}

static int
failed(const char *dir, const char *what, struct err *e)
{
	return err_set(e, ERR_SYSTEM, "directory of sessions %.140s: %s: %s",
	    dir, what, strerror(errno));
}

/* name is key.kv, or, if part, that and what mkostemp adds. */
static bool
split(const char *name, bool part, char key[DECODE_SESSION_LEN + 1])
{
	size_t n = strspn(name, "0123456789abcdef"), end = strlen(SUFFIX);

	if (n == 0 || n > DECODE_SESSION_LEN ||
	    strncmp(name + n, SUFFIX, end) != 0 ||
	    (part ? strlen(name + n + end) != 7 || name[n + end] != '.' :
	    name[n + end] != '\0'))
		return false;
	memcpy(key, name, n);
	key[n] = '\0';
	return true;
}

int
session_dir_open(const char *dir, struct err *e)
{
	char key[DECODE_SESSION_LEN + 1], path[SESSION_PATH + 300];
	const struct dirent *d;
	DIR *dp;

	if (strlen(dir) > 500)
		return err_set(e, ERR_RANGE, "directory of sessions: the path "
		    "has more than 500 bytes");
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return failed(dir, "make it", e);
	if (access(dir, R_OK | W_OK | X_OK) != 0)
		return failed(dir, "write to it", e);
	if ((dp = opendir(dir)) == NULL)
		return failed(dir, "read it", e);
	while ((d = readdir(dp)) != NULL)
		if (split(d->d_name, true, key)) {
			snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);
			unlink(path);
		}
	closedir(dp);
	return 0;
}

static int
by_age(const void *a, const void *b)
{
	const struct session_file *x = a, *y = b;

	if (x->used_ns != y->used_ns)
		return x->used_ns < y->used_ns ? -1 : 1;
	return strcmp(x->key, y->key);
}

/* One more; false if memory is short. */
static bool
add(struct session_file **files, size_t *n, const struct session_file *f)
{
	struct session_file *more = *files;

	if ((*n & (*n - 1)) == 0 && (more = reallocarray(*files,
	    *n == 0 ? 1 : 2 * *n, sizeof(*f))) == NULL)
		return false;
	more[(*n)++] = *f;
	*files = more;
	return true;
}

int
session_dir_list(const char *dir, struct session_file **files, size_t *n,
    struct err *e)
{
	struct session_file f;
	const struct dirent *d;
	struct stat st;
	DIR *dp = opendir(dir);
	bool ok = true;

	*files = NULL;
	*n = 0;
	if (dp == NULL)
		return failed(dir, "read it", e);
	while (ok && (d = readdir(dp)) != NULL) {
		if (!split(d->d_name, false, f.key) ||
		    fstatat(dirfd(dp), d->d_name, &st, 0) != 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		f.bytes = (int64_t)st.st_size;
		f.used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 +
		    st.st_mtim.tv_nsec;
		ok = add(files, n, &f);
	}
	closedir(dp);
	if (!ok) {
		free(*files);
		return err_set(e, ERR_NO_MEMORY, "no memory for a directory");
	}
	if (*n > 1)
		qsort(*files, *n, sizeof(**files), by_age);
	return 0;
}

void
session_dir_touch(const char *path)
{
	utimensat(AT_FDCWD, path, NULL, 0);	/* if not, it looks older */
}

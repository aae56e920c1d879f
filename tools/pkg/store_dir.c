/*
 * What store.h does with whole directories: names, sizes, removal.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sha256.h"
#include "store.h"

enum { READ_BYTES = 1 << 16 };

/* Call fn for each entry but . and ..; stops when it fails.  Closes fd. */
static int
each(int fd, int (*fn)(int fd, const char *name, void *arg), void *arg)
{
	DIR *d = fdopendir(fd);
	struct dirent *entry;
	int rc = 0;

	if (d == NULL) {
		close(fd);
		return -1;
	}
	errno = 0;
	while (rc == 0 && (entry = readdir(d)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			rc = fn(dirfd(d), entry->d_name, arg);
	closedir(d);
	return rc;
}

static int
add_size(int fd, const char *name, void *arg)
{
	int64_t *sum = arg;
	struct stat st;

	if (fstatat(fd, name, &st, 0) == 0 && S_ISREG(st.st_mode))
		*sum += st.st_size;
	return 0;
}

static int
open_dir(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
	    O_NOFOLLOW);
}

int64_t
store_size(const struct store *s, const char *name)
{
	int64_t sum = 0;
	int fd = open_dir(s->fd, name);

	if (fd < 0)
		add_size(s->fd, name, &sum);
	else
		each(fd, add_size, &sum);
	return sum;
}

static int
refuse_dir(int fd, const char *name, void *arg)
{
	struct stat st;

	(void)arg;
	return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode) ? ERR_UNSUPPORTED : 0;
}

static int
remove_entry(int fd, const char *name, void *arg)
{
	(void)arg;
	return unlinkat(fd, name, 0) == 0 ? 0 : -1;
}

int
store_remove(const struct store *s, const char *name, struct err *e)
{
	struct stat st;
	int fd;

	if (fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 &&
	    errno == ENOENT)
		return 0;
	fd = open_dir(s->fd, name);
	if (fd < 0) {
		if (unlinkat(s->fd, name, 0) == 0 || errno == ENOENT)
			return 0;
	} else if (each(fd, refuse_dir, NULL) != 0) {
		return err_set(e, ERR_UNSUPPORTED, "%.100s/%.90s holds a "
		    "directory, which no pull has made: not removed", s->path,
		    name);
	} else if ((fd = open_dir(s->fd, name)) >= 0 &&
	    each(fd, remove_entry, NULL) == 0 &&
	    unlinkat(s->fd, name, AT_REMOVEDIR) == 0)
		return 0;
	return err_set(e, ERR_SYSTEM, "%.110s/%.80s: cannot be removed: %s",
	    s->path, name, strerror(errno));
}

struct names {
	char **list;
	size_t n, cap;
};

static int
add_name(int fd, const char *name, void *arg)
{
	struct names *all = arg;

	(void)fd;
	if (all->n == all->cap) {
		size_t cap = all->cap == 0 ? 64 : 2 * all->cap;
		char **list = realloc(all->list, cap * sizeof(*list));

		if (list == NULL)
			return -1;
		all->list = list;
		all->cap = cap;
	}
	if ((all->list[all->n] = strdup(name)) == NULL)
		return -1;
	all->n++;
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int
store_names(const struct store *s, char ***names, size_t *n, struct err *e)
{
	struct names all = { 0 };
	int fd = open_dir(s->fd, ".");

	if (fd < 0 || each(fd, add_name, &all) != 0) {
		store_free_names(all.list, all.n);
		return err_set(e, ERR_SYSTEM, "%.150s: cannot be read: %s",
		    s->path, strerror(errno));
	}
	if (all.n > 0)
		qsort(all.list, all.n, sizeof(*all.list), by_name);
	*names = all.list;
	*n = all.n;
	return 0;
}

void
store_free_names(char **names, size_t n)
{
	while (n > 0)
		free(names[--n]);
	free(names);
}

int
store_sum(const struct store *s, const char *name, char *hex, int64_t *size,
    struct err *e)
{
	int fd = openat(s->fd, name, O_RDONLY | O_CLOEXEC);
	uint8_t sum[SHA256_SIZE], *b = malloc(READ_BYTES);
	int64_t all = 0;
	struct sha256 h;
	ssize_t n = -1;

	sha256_init(&h);
	while (fd >= 0 && b != NULL && (n = read(fd, b, READ_BYTES)) > 0) {
		sha256_add(&h, b, (size_t)n);
		all += n;
	}
	if (n < 0)
		err_set(e, ERR_SYSTEM, "%.110s/%.80s: %s", s->path, name,
		    strerror(errno));
	if (fd >= 0)
		close(fd);
	free(b);
	if (n < 0)
		return ERR_SYSTEM;
	sha256_finish(&h, sum);
	for (int i = 0; i < SHA256_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	*size = all;
	return 0;
}

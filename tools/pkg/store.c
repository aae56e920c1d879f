#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store.h"

#define SYSTEM_DIR "/var/lib/1bit-halo/models"

static int
fail(struct err *e, const struct store *s, const char *name)
{
	return err_set(e, ERR_SYSTEM, "%.110s/%.80s: %s", s->path, name,
	    strerror(errno));
}

/* mkdir -p. */
static int
make_dirs(const char *path)
{
	char *copy = strdup(path);
	int rc = 0;

	if (copy == NULL)
		return -1;
	for (char *p = copy + 1; rc == 0 && *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		rc = mkdir(copy, 0755) != 0 && errno != EEXIST ? -1 : 0;
		*p = '/';
	}
	free(copy);
	if (rc == 0 && mkdir(path, 0755) != 0 && errno != EEXIST)
		rc = -1;
	return rc;
}

/* The directory when none was given; on the heap. */
static char *
default_dir(void)
{
	const char *given = getenv("HALO_MODELS_DIR"), *base;
	char *out = NULL;

	if (given != NULL && *given != '\0')
		return strdup(given);
	if (geteuid() == 0 || access(SYSTEM_DIR, W_OK) == 0)
		return strdup(SYSTEM_DIR);
	base = getenv("XDG_DATA_HOME");
	if (base != NULL && *base == '/') {
		if (asprintf(&out, "%s/1bit-halo/models", base) < 0)
			return NULL;
		return out;
	}
	base = getenv("HOME");
	if (base == NULL || *base == '\0')
		return strdup(SYSTEM_DIR);
	if (asprintf(&out, "%s/.local/share/1bit-halo/models", base) < 0)
		return NULL;
	return out;
}

int
store_open(struct store *s, const char *dir, bool create, struct err *e)
{
	s->fd = -1;
	s->path = dir != NULL ? strdup(dir) : default_dir();
	if (s->path == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a path");
	if (create && s->path[0] != '\0' && make_dirs(s->path) != 0)
		err_set(e, ERR_SYSTEM, "%.150s: cannot be made: %s", s->path,
		    strerror(errno));
	else if ((s->fd = open(s->path, O_RDONLY | O_DIRECTORY |
	    O_CLOEXEC)) < 0)
		err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM,
		    "%.150s: %s", s->path, strerror(errno));
	else
		return 0;
	store_close(s);
	return e->code;
}

void
store_close(struct store *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->path);
	*s = (struct store){ .fd = -1 };
}

static bool
allowed(char c)
{
	return isalnum((unsigned char)c) != 0 || (c != '\0' &&
	    strchr("._+-", c) != NULL);
}

static bool
ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n >= k && strcmp(name + n - k, end) == 0;
}

static bool
reserved(const char *name)
{
	return ends_in(name, ".part") || ends_in(name, ".part.json") ||
	    ends_in(name, ".manifest.json") || ends_in(name, ".new");
}

int
store_check_name(const char *name, struct err *e)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!allowed(name[i]))
			return err_set(e, ERR_RANGE, "'%.100s' is no name of a "
			    "model: letters, digits and . _ + - alone", name);
	if (n == 0 || n > STORE_NAME_MAX || !isalnum((unsigned char)name[0]))
		return err_set(e, ERR_RANGE, "'%.100s' is no name of a model: "
		    "1 to %d bytes, the first a letter or digit", name,
		    STORE_NAME_MAX);
	if (reserved(name))
		return err_set(e, ERR_RANGE, "'%.100s' is no name of a model: "
		    "its end is kept for other files", name);
	return 0;
}

bool
store_clean_name(const char *text, char out[STORE_NAME_MAX + 1])
{
	size_t n = 0;

	for (; *text != '\0' && n < STORE_NAME_MAX; text++)
		if (n > 0 || isalnum((unsigned char)*text) != 0)
			out[n++] = allowed(*text) ? *text : '_';
	out[n] = '\0';
	return store_check_name(out, NULL) == 0;
}

char *
store_beside(const char *name, const char *suffix, char *out)
{
	snprintf(out, STORE_PATH_MAX, "%s%s", name, suffix);
	return out;
}

static void
lock_name(const char *name, char out[STORE_PATH_MAX])
{
	snprintf(out, STORE_PATH_MAX, ".%s.lock", name);
}

/*
 * Whoever unlocks removes the file, so after the lock is ours the name must
 * still lead to the file that we locked.
 */
int
store_lock(const struct store *s, const char *name, int *lock, struct err *e)
{
	char file[STORE_PATH_MAX];
	struct stat mine, now;

	lock_name(name, file);
	for (;;) {
		int fd = openat(s->fd, file, O_RDWR | O_CREAT | O_CLOEXEC |
		    O_NOFOLLOW, 0600);

		if (fd < 0)
			return fail(e, s, file);
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			int rc = errno == EWOULDBLOCK ?
			    err_set(e, ERR_BUSY, "another 1bit-halo-pkg is at "
			    "work on '%.100s'", name) : fail(e, s, file);

			close(fd);
			return rc;
		}
		if (fstat(fd, &mine) == 0 && fstatat(s->fd, file, &now,
		    AT_SYMLINK_NOFOLLOW) == 0 && mine.st_ino == now.st_ino) {
			*lock = fd;
			return 0;
		}
		close(fd);
	}
}

void
store_unlock(const struct store *s, const char *name, int lock)
{
	char file[STORE_PATH_MAX];

	lock_name(name, file);
	unlinkat(s->fd, file, 0);
	close(lock);
}

bool
store_exists(const struct store *s, const char *name)
{
	struct stat st;

	return fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

const char *
store_format(const struct store *s, const char *name)
{
	char magic[4] = "";
	struct stat st;
	int fd = openat(s->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	const char *format = NULL;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		format = faccessat(fd, "config.json", F_OK, 0) == 0 ?
		    "safetensors" : NULL;
	else if (S_ISREG(st.st_mode) && read(fd, magic, 4) == 4)
		format = memcmp(magic, "GGUF", 4) == 0 ? "gguf" :
		    memcmp(magic, "H1B", 4) == 0 ? "h1b" : NULL;
	close(fd);
	return format;
}

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

static int
cannot_open(const char *path, struct err *e)
{
	return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM,
	    "%.180s: %s", path, strerror(errno));
}

int
file_map(const char *path, void **bytes, size_t *n, struct err *e)
{
	/* Not to wait for the other end of a FIFO. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	void *map;

	if (fd < 0)
		return cannot_open(path, e);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
		close(fd);
		return err_set(e, ERR_BAD_FILE,
		    "%.180s: empty or not a regular file", path);
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return err_set(e, ERR_SYSTEM, "%.180s: mmap: %s", path,
		    strerror(errno));
	*bytes = map;
	*n = (size_t)st.st_size;
	return 0;
}

int
file_read(const char *path, size_t max, struct buf *out, struct err *e)
{
	FILE *fp = fopen(path, "rbe");
	size_t start = out->len, n;
	char piece[4096];
	int failed;

	if (fp == NULL)
		return cannot_open(path, e);
	errno = 0;
	while (!out->failed && out->len - start <= max &&
	    (n = fread(piece, 1, sizeof(piece), fp)) > 0)
		buf_add(out, piece, n);
	failed = ferror(fp) ? errno : 0;
	fclose(fp);
	if (failed != 0)
		return err_set(e, ERR_SYSTEM, "%.180s: %s", path,
		    strerror(failed));
	if (out->failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for %.180s", path);
	if (out->len - start > max)
		return err_set(e, ERR_RANGE, "%.180s: more than %zu bytes", path,
		    max);
	return 0;
}

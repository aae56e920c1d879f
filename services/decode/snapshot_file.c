/*
 * Snapshots on disk.  They are read with pread and not mapped: a file that is
 * cut under us is an error then, and no signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "model/crc32c.h"
#include "snapshot_parts.h"

enum { NAME_SIZE = 1024 };

static int
failed(const char *path, const char *what, struct err *e)
{
	bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;

	return err_set(e, full ? ERR_STORAGE : errno == ENOENT ?
	    ERR_NOT_FOUND : ERR_SYSTEM, "%.140s: %s: %s", path, what,
	    strerror(errno));
}

static bool
write_all(int fd, const void *bytes, size_t n, off_t at)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t k = pwrite(fd, p, n, at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		at += k;
		n -= (size_t)k;
	}
	return true;
}

static bool
read_all(int fd, void *bytes, size_t n, off_t at)
{
	char *p = bytes;

	while (n > 0) {
		ssize_t k = pread(fd, p, n, at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		at += k;
		n -= (size_t)k;
	}
	return true;
}

static int64_t
unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The pages from byte `at` on; their sums before them, at n_text. */
static int
write_pages(int fd, const char *path, const struct snapshot_identity *id,
    const struct session_copy *c, struct backend *b, off_t sums_at,
    struct err *e)
{
	size_t n = (size_t)c->kv.n_pages;
	off_t at = sums_at + 4 * (off_t)(n + 1);
	uint32_t *sums = calloc(n, sizeof(*sums));
	uint8_t *bytes = malloc(4 * (n + 1));
	char *page = malloc(id->page_bytes);
	int r = 0;

	if (sums == NULL || bytes == NULL || page == NULL)
		r = err_set(e, ERR_NO_MEMORY, "no memory for a snapshot");
	for (size_t i = 0; i < n && r == 0; i++) {
		int32_t left = c->n_tokens - (int32_t)i * KV_PAGE;

		r = b->read_page(b, c->kv.pages[i], left < KV_PAGE ? left :
		    KV_PAGE, page, e);
		if (r == 0 && !write_all(fd, page, id->page_bytes, at))
			r = failed(path, "write", e);
		sums[i] = crc32c(0, page, id->page_bytes);
		at += (off_t)id->page_bytes;
	}
	if (r == 0) {
		snapshot_put_sums(sums, n, bytes);
		if (!write_all(fd, bytes, 4 * (n + 1), sums_at))
			r = failed(path, "write", e);
	}
	free(sums);
	free(bytes);
	free(page);
	return r;
}

static int
write_file(int fd, const char *path, const struct snapshot_identity *id,
    const struct session_copy *c, struct backend *b, struct err *e)
{
	size_t n;
	uint8_t *head = snapshot_encode(c, id, unix_ms(), &n);
	int r = 0;

	if (head == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a snapshot");
	if (!write_all(fd, head, n, 0))
		r = failed(path, "write", e);
	if (r == 0)
		r = write_pages(fd, path, id, c, b, (off_t)n, e);
	if (r == 0 && fsync(fd) != 0)
		r = failed(path, "fsync", e);
	free(head);
	return r;
}

/* The name is on disk, too. */
static void
sync_directory(const char *path)
{
	char dir[NAME_SIZE];
	const char *slash = strrchr(path, '/');
	int fd;

	snprintf(dir, sizeof(dir), "%.*s", slash == NULL ? 1 :
	    (int)(slash - path), slash == NULL ? "." : path);
	if ((fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return;
	fsync(fd);	/* if not, the older file is found: no harm */
	close(fd);
}

int
snapshot_write(const char *path, const struct snapshot_identity *id,
    const struct session_copy *c, struct backend *b, int64_t *n_bytes,
    struct err *e)
{
	char name[NAME_SIZE];
	int fd, r;

	snprintf(name, sizeof(name), "%s.XX" "XX" "XX", path);
	if ((fd = mkostemp(name, O_CLOEXEC)) < 0)
		return failed(path, "create", e);
	r = write_file(fd, path, id, c, b, e);
	if (close(fd) != 0 && r == 0)
		r = failed(path, "close", e);
	if (r == 0 && rename(name, path) != 0)
		r = failed(path, "rename", e);
	if (r != 0) {
		unlink(name);
		return r;
	}
	sync_directory(path);
	*n_bytes = (int64_t)snapshot_size(c, id);
	return 0;
}

static int
cut_short(const char *path, struct err *e)
{
	return err_set(e, ERR_BAD_FILE, "%.140s: cut short, or unreadable", path);
}

static int
read_sums(struct snapshot *s, const char *path, struct err *e)
{
	uint64_t n = s->head.n_pages;
	uint8_t *bytes = malloc(4 * (n + 1));
	int r = 0;

	s->sums = calloc(n, sizeof(*s->sums));
	if (bytes == NULL || s->sums == NULL)
		r = err_set(e, ERR_NO_MEMORY, "no memory for a snapshot");
	else if (!read_all(s->fd, bytes, 4 * (n + 1),
	    (off_t)(SNAPSHOT_HEADER + s->head.n_text)))
		r = cut_short(path, e);
	else if (!snapshot_get_sums(bytes, n, s->sums))
		r = err_set(e, ERR_BAD_FILE, "%.140s: the sums are damaged",
		    path);
	free(bytes);
	return r;
}

static int
read_head(struct snapshot *s, const char *path,
    const struct snapshot_identity *id, struct session_copy *c, struct err *e)
{
	uint8_t head[SNAPSHOT_HEADER], *text;
	struct stat st;
	int r;

	if (!read_all(s->fd, head, sizeof(head), 0))
		return cut_short(path, e);
	if ((r = snapshot_head(head, id, &s->head, c, e)) != 0)
		return r;
	if (fstat(s->fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != s->head.n_file)
		return cut_short(path, e);
	if ((text = malloc(s->head.n_text)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a snapshot");
	if (!read_all(s->fd, text, s->head.n_text, SNAPSHOT_HEADER))
		r = cut_short(path, e);
	else
		r = snapshot_text(text, id, &s->head, c, e);
	free(text);
	return r;
}

int
snapshot_open(const char *path, const struct snapshot_identity *id,
    struct snapshot *s, struct session_copy *c, struct err *e)
{
	int r;

	*c = (struct session_copy){ .held = KV_NONE };
	*s = (struct snapshot){ .fd = open(path, O_RDONLY | O_CLOEXEC |
	    O_NONBLOCK | O_NOCTTY) };
	if (s->fd < 0)
		return failed(path, "open", e);
	if ((r = read_head(s, path, id, c, e)) == 0)
		r = read_sums(s, path, e);
	if (r != 0) {
		snapshot_close(s);
		transcript_free(c->said);
		c->said = NULL;
	}
	return r;
}

int
snapshot_page(struct snapshot *s, const struct snapshot_identity *id,
    uint64_t i, void *out, struct err *e)
{
	uint64_t at = SNAPSHOT_HEADER + s->head.n_text +
	    4 * (s->head.n_pages + 1) + i * id->page_bytes;

	if (!read_all(s->fd, out, id->page_bytes, (off_t)at))
		return err_set(e, ERR_BAD_FILE, "page %d of the snapshot cannot "
		    "be read", (int)i);
	if (crc32c(0, out, id->page_bytes) != s->sums[i])
		return err_set(e, ERR_BAD_FILE, "page %d of the snapshot is "
		    "damaged", (int)i);
	return 0;
}

void
snapshot_close(struct snapshot *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->sums);
	*s = (struct snapshot){ .fd = -1 };
}

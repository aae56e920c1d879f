/*
 * A tokenizer from whatever file has one.  Files are told apart by how they
 * begin, never by their names.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/gguf.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

enum { FILE_MAX = 1 << 28 };	/* bytes, of those that are only a tokenizer */

static int
open_gguf(const char *path, struct tokenizer **t, struct err *e)
{
	struct gguf *g;
	int rc = gguf_open(path, &g, e);

	if (rc != 0)
		return rc;
	rc = tokenizer_from_gguf(g, t, e);
	gguf_close(g);
	return rc;
}

static int
open_h1b(const char *path, struct tokenizer **t, struct err *e)
{
	struct model m;
	int rc = model_open(path, false, &m, e);

	if (rc != 0)
		return rc;
	if (m.n_tokenizer == 0)
		rc = err_set(e, ERR_NOT_FOUND, "%.180s: the model has no "
		    "tokenizer", path);
	else
		rc = tokenizer_load(m.tokenizer, m.n_tokenizer, t, e);
	model_close(&m);
	return rc;
}

/* JSON may begin with white space; ranks, as base64, do not. */
static bool
is_json(const char *text, size_t n)
{
	size_t i = 0;

	while (i < n && memchr(" \t\r\n", text[i], 4) != NULL)
		i++;
	return i < n && text[i] == '{';
}

static int
open_bytes(const char *path, const char *bytes, size_t n, const char *pattern,
    struct tokenizer **t, struct err *e)
{
	bool htok = n >= 4 && memcmp(bytes, "HTOK", 4) == 0;
	bool own = n >= 4 && (memcmp(bytes, "GGUF", 4) == 0 ||
	    memcmp(bytes, "H1B", 4) == 0);

	own = own || is_json(bytes, n);
	if (own && pattern != NULL)
		return err_set(e, ERR_RANGE, "%.180s: it has its own pattern, "
		    "and '%.40s' cannot be chosen", path, pattern);
	if (n >= 4 && memcmp(bytes, "GGUF", 4) == 0)
		return open_gguf(path, t, e);
	if (n >= 4 && memcmp(bytes, "H1B", 4) == 0)
		return open_h1b(path, t, e);
	if (n > FILE_MAX)
		return err_set(e, ERR_BAD_FILE, "%.180s: %zu bytes, more than "
		    "%d, and neither GGUF nor .h1b", path, n, FILE_MAX);
	if (own)
		return tokenizer_from_json(bytes, n, t, e);
	if (htok)
		return tokenizer_from_htok(bytes, n, path, pattern, t, e);
	return tokenizer_from_ranks(bytes, n, path, pattern, t, e);
}

static int
open_file(const char *path, int fd, size_t n, const char *pattern,
    struct tokenizer **t, struct err *e)
{
	void *map;
	int rc;

	if (n == 0)
		return err_set(e, ERR_BAD_FILE, "%.180s: it is empty", path);
	map = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return err_set(e, ERR_SYSTEM, "%.180s: %s", path,
		    strerror(errno));
	rc = open_bytes(path, map, n, pattern, t, e);
	munmap(map, n);
	return rc;
}

static int
open_in(const char *dir, const char *pattern, struct tokenizer **t,
    struct err *e)
{
	struct buf path = { 0 };
	struct stat st;
	int rc;

	buf_printf(&path, "%s/tokenizer.json", dir);
	if (path.failed)
		rc = err_set(e, ERR_NO_MEMORY, "no memory for a path");
	else if (stat(path.data, &st) != 0 || !S_ISREG(st.st_mode))
		rc = err_set(e, ERR_NOT_FOUND, "%.180s: there is no file "
		    "tokenizer.json in it", dir);
	else
		rc = tokenizer_open(path.data, pattern, t, e);
	buf_free(&path);
	return rc;
}

int
tokenizer_open(const char *path, const char *pattern, struct tokenizer **t,
    struct err *e)
{
	/* O_NONBLOCK: a FIFO is refused and not waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st) != 0)
		rc = err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM,
		    "%.180s: %s", path, strerror(errno));
	else if (S_ISDIR(st.st_mode))
		rc = open_in(path, pattern, t, e);
	else if (!S_ISREG(st.st_mode))
		rc = err_set(e, ERR_BAD_FILE, "%.180s: it is no regular file",
		    path);
	else
		rc = open_file(path, fd, (size_t)st.st_size, pattern, t, e);
	if (fd >= 0)
		close(fd);
	return rc;
}

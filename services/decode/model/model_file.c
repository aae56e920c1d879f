/*
 * Pages of the page cache are small, whatever is asked for.  So a model that is
 * to be in huge ones is read: into its place at once, so that there is never a
 * mapping of the file and a copy beside each other, and by several threads, since
 * most of the time goes into taking pages.  It is checked afterwards, where it
 * is: what happens to the file from then on is no concern of ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/h1b.h"
#include "model/model_file.h"

enum {
	LEAST = 64 << 20,	/* bytes of a model that MODEL_AUTO reads: most of
				 * a smaller one is in the caches anyway */
	PIECE = 8 << 20,	/* read at a time, whole huge pages */
	READERS_MAX = 16,
};

struct reading {
	int fd;
	char *to;
	size_t n;
	_Atomic size_t next;	/* where nobody reads yet */
	atomic_int failed;	/* errno, or -1: the file ended early */
};

static void *
read_pieces(void *arg)
{
	struct reading *r = arg;
	size_t at;

	while (atomic_load(&r->failed) == 0 &&
	    (at = atomic_fetch_add(&r->next, PIECE)) < r->n) {
		size_t end = r->n - at < PIECE ? r->n : at + PIECE;

		while (at < end) {
			ssize_t k = pread(r->fd, r->to + at, end - at,
			    (off_t)at);

			if (k < 0 && errno == EINTR)
				continue;
			if (k <= 0) {
				atomic_store(&r->failed, k < 0 ? errno : -1);
				return NULL;
			}
			at += (size_t)k;
		}
	}
	return NULL;
}

static int
read_all(int fd, const char *path, int n_threads, struct model_file *f,
    struct err *e)
{
	struct reading r = { .fd = fd, .to = f->bytes, .n = f->n };
	pthread_t others[READERS_MAX];
	int n = 0, failed;

	while (n < READERS_MAX && n + 1 < n_threads &&
	    pthread_create(&others[n], NULL, read_pieces, &r) == 0)
		n++;
	read_pieces(&r);
	while (n > 0)
		pthread_join(others[--n], NULL);
	if ((failed = atomic_load(&r.failed)) != 0)
		return err_set(e, failed < 0 ? ERR_BAD_FILE : ERR_SYSTEM,
		    "%s: %s", path, failed < 0 ?
		    "the file became shorter while it was read" :
		    strerror(failed));
	/* Nobody writes to weights. */
	(void)mprotect(f->memory.p, f->memory.n, PROT_READ);
	return 0;
}

static bool
is_worth_it(const struct model_open_options *o, size_t n)
{
	if (o->pages != MODEL_AUTO)
		return o->pages == MODEL_HUGE;
	/* A quarter more, for all that comes after. */
	return n >= LEAST && memory_has_huge(NULL) &&
	    n < memory_available() / 5 * 4;
}

static int
map(int fd, const char *path, struct model_file *f, struct err *e)
{
	f->bytes = mmap(NULL, f->n, PROT_READ, MAP_PRIVATE, fd, 0);
	if (f->bytes == MAP_FAILED)
		return err_set(e, ERR_SYSTEM, "%s: mmap: %s", path,
		    strerror(errno));
	f->mapped = true;
	/* The check reads all of it once, from front to back. */
	(void)madvise(f->bytes, f->n, MADV_WILLNEED);
	return 0;
}

static int
fill(int fd, const char *path, const struct model_open_options *o,
    struct model_file *f, struct err *e)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) != 0)
		return err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_FILE, "%s: not a regular file", path);
	if ((size_t)st.st_size < sizeof(struct h1b_header))
		return err_set(e, ERR_BAD_FILE,
		    "%s: %lld bytes, too short for a model", path,
		    (long long)st.st_size);
	*f = (struct model_file){ .n = (size_t)st.st_size,
	    .time = st.st_mtime };
	if (!is_worth_it(o, f->n))
		return map(fd, path, f, e);
	r = memory_take(f->n, true, o->nodes, "the weights", &f->memory, e);
	if (r != 0)
		return o->pages == MODEL_AUTO ? map(fd, path, f, e) : r;
	f->bytes = f->memory.p;
	if ((r = read_all(fd, path, o->n_threads, f, e)) != 0)
		memory_free(&f->memory);
	return r;
}

int
model_file_open(const char *path, const struct model_open_options *o,
    struct model_file *f, struct err *e)
{
	struct model_file got;
	int fd, r;

	/* Not to wait for the other end of a FIFO. */
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) < 0)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM,
		    "%s: %s", path, strerror(errno));
	r = fill(fd, path, o, &got, e);
	close(fd);
	if (r == 0)
		*f = got;
	return r;
}

void
model_file_close(struct model_file *f)
{
	if (f->mapped)
		munmap(f->bytes, f->n);
	memory_free(&f->memory);
}

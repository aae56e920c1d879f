#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "model/h1b_writer.h"

/*
 * Where a .h1b goes: to memory, or to a file that has no name until all of it is
 * there and synced, so that nothing is left of one that was interrupted.  Where
 * the file system has no such files, it has a name beside its place.  A probe is
 * made of the model as it can be read back, so it is added when everything else
 * is there and nobody has seen the file yet.
 */
enum { PROBE_IN_MEMORY = 256 << 20 };	/* bytes of a model */

static int
failed(const struct h1b_writer *w, const char *what)
{
	return err_set(w->e, ERR_SYSTEM, "%.140s: %s: %s", w->path, what,
	    strerror(errno));
}

/* The file while it is written. */
struct temp {
	char *dir;		/* of its place */
	char *name;		/* beside its place, which it has or gets */
	char *at;		/* where it can be opened now */
	bool nameless;
};

static int
temp_init(struct temp *t, const struct h1b_writer *w)
{
	const char *slash = strrchr(w->path, '/');
	char random[17];

	*t = (struct temp){ .dir = slash == NULL ? strdup(".") :
	    strndup(w->path, slash == w->path ? 1 : (size_t)(slash - w->path)) };
	random_hex(random, 8);
	if (t->dir == NULL ||
	    asprintf(&t->name, "%s.%s", w->path, random) < 0) {
		free(t->dir);
		return err_set(w->e, ERR_NO_MEMORY, "no memory for a name");
	}
	return 0;
}

static void
temp_free(struct temp *t)
{
	free(t->dir);
	free(t->name);
	free(t->at);
}

/* -1 and errno if it cannot be made. */
static int
temp_open(struct temp *t)
{
	int fd = open(t->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);

	t->nameless = fd >= 0 &&
	    asprintf(&t->at, "/proc/self/fd/%d", fd) >= 0 &&
	    access(t->at, R_OK) == 0;
	if (t->nameless)
		return fd;
	if (fd >= 0)
		close(fd);
	free(t->at);
	t->at = strdup(t->name);
	return open(t->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

/*
 * A name that is taken stays (EEXIST).  Not every file system has a rename that sees
 * to it (NFS and most of FUSE do not), but a link does as much; where there are no
 * links either, looking before has to do.
 */
static int
rename_to_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (link(from, to) == 0)
		return unlink(from);
	if (errno == EEXIST)
		return -1;
	if (access(to, F_OK) == 0) {
		errno = EEXIST;
		return -1;
	}
	return rename(from, to);
}

/* The temporary file becomes path.  A name that is replaced needs another one
 * first: there is no link that replaces. */
static int
publish(struct h1b_writer *w, struct temp *t, bool force)
{
	bool there = !t->nameless;
	int fd, r = 0;

	if (t->nameless) {
		r = linkat(AT_FDCWD, t->at, AT_FDCWD,
		    force ? t->name : w->path, AT_SYMLINK_FOLLOW);
		there = r == 0 && force;
	}
	if (r == 0 && there)
		r = force ? rename(t->name, w->path) :
		    rename_to_new(t->name, w->path);
	if (r != 0) {
		r = errno == EEXIST ? err_set(w->e, ERR_EXISTS,
		    "%.200s exists already", w->path) : failed(w, "rename");
		if (there)
			unlink(t->name);
		return r;
	}
	/* Some file systems cannot sync a directory; then the name may be lost in
	 * a crash, the contents never. */
	if ((fd = open(t->dir, O_RDONLY | O_CLOEXEC)) >= 0) {
		(void)fsync(fd);
		close(fd);
	}
	return 0;
}

/*
 * The probe reads all of the model once, so what was read need not stay.  Pages
 * that are given back too early are only read again.
 */
struct dropper {
	void *map;
	size_t size;
	atomic_bool stop;
};

static void *
drop_pages(void *arg)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	struct dropper *d = arg;

	while (!atomic_load(&d->stop)) {
		(void)madvise(d->map, d->size, MADV_DONTNEED);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static int
make_probe(struct h1b_writer *w, const struct model *m, struct buf *out)
{
	struct dropper d = { .map = m->map, .size = m->map_size };
	pthread_t thread;
	bool threaded = m->map_size > PROBE_IN_MEMORY &&
	    pthread_create(&thread, NULL, drop_pages, &d) == 0;
	int rc = w->s->probe(w->s->writer_arg, m, out, w->e);

	if (threaded) {
		atomic_store(&d.stop, true);
		pthread_join(thread, NULL);
	}
	return rc;
}

static int
add_probe(struct h1b_writer *w, const char *temp)
{
	struct buf probe = { 0 };
	const struct model_open_options light = { .light = true };
	struct model m;
	int rc;

	if ((rc = model_open_with(temp, &light, &m, w->e)) != 0)
		return rc;
	rc = make_probe(w, &m, &probe);
	model_close(&m);
	if (rc == 0 && probe.failed)
		rc = err_set(w->e, ERR_NO_MEMORY, "no memory for a probe");
	if (rc == 0)
		rc = h1b_writer_probe(w, probe.data, probe.len);
	buf_free(&probe);
	return rc;
}

static int
write_temp(struct h1b_writer *w, const char *temp)
{
	int rc = h1b_writer_run(w);

	/* The last section may be empty, and the zeros before it not there. */
	if (rc == 0 && (fflush(w->fp) != 0 || ftruncate(fileno(w->fp),
	    (off_t)w->header.file_size) != 0))
		rc = failed(w, "write");
	if (rc == 0 && w->form.probe)
		rc = add_probe(w, temp);
	if (rc == 0 && (fflush(w->fp) != 0 || fsync(fileno(w->fp)) != 0))
		rc = failed(w, "write");
	return rc;
}

/* A device or a pipe is not a place, and must not be replaced by a file. */
static int
check_place(const struct h1b_writer *w, bool force)
{
	struct stat st;

	if (lstat(w->path, &st) != 0)
		return 0;
	if (!force)
		return err_set(w->e, ERR_EXISTS, "%.200s exists already",
		    w->path);
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return err_set(w->e, ERR_EXISTS, "%.200s exists and is not a "
		    "regular file", w->path);
	return 0;
}

static int
write_file(struct h1b_writer *w, bool force)
{
	struct temp t;
	int fd, rc;

	if ((rc = check_place(w, force)) != 0 || (rc = temp_init(&t, w)) != 0)
		return rc;
	if ((fd = temp_open(&t)) < 0 || (w->fp = fdopen(fd, "w")) == NULL) {
		rc = failed(w, "open");
		if (fd >= 0)
			close(fd);
	} else {
		if ((rc = write_temp(w, t.at)) == 0)
			rc = publish(w, &t, force);
		fclose(w->fp);
	}
	if (rc != 0 && fd >= 0 && !t.nameless)
		unlink(t.name);
	temp_free(&t);
	return rc;
}

int
h1b_write(const char *path, const struct h1b_source *s, bool force,
    struct err *e)
{
	struct h1b_writer w;
	int rc;

	if ((rc = h1b_writer_init(&w, s, path, s->probe != NULL, e)) != 0)
		return rc;
	rc = write_file(&w, force);
	h1b_writer_finish(&w);
	return rc;
}

/* Pages of zeros, on a boundary of large pages so that they can be such. */
static uint8_t *
take_pages(size_t n)
{
	const size_t large = 2 << 20, page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = (n + page - 1) / page * page, before;
	uint8_t *p = mmap(NULL, size + large, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	before = (large - (uintptr_t)p % large) % large;
	if (before > 0)
		munmap(p, before);
	munmap(p + before + size, large - before);
	(void)madvise(p + before, size, MADV_HUGEPAGE);
	return p + before;
}

int
h1b_image(const struct h1b_source *s, void **image, size_t *n, struct err *e)
{
	struct h1b_writer w;
	int rc;

	if ((rc = h1b_writer_init(&w, s, "memory", false, e)) != 0)
		return rc;
	if ((w.image = take_pages(w.header.file_size)) == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "no memory for a model of %llu "
		    "bytes", (unsigned long long)w.header.file_size);
	if (rc == 0 && (rc = h1b_writer_run(&w)) != 0)
		munmap(w.image, w.header.file_size);
	if (rc == 0) {
		(void)mprotect(w.image, w.header.file_size, PROT_READ);
		*image = w.image;
		*n = w.header.file_size;
	}
	h1b_writer_finish(&w);
	return rc;
}

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "model/h1b_writer.h"

/*
 * Where a .h1b goes: to a file beside its place that is synced and renamed, or
 * to memory.  A probe is made of the model as it can be read back, so it is
 * added when everything else is there and nobody has seen the file yet.
 */
enum { PROBE_IN_MEMORY = 256 << 20 };	/* bytes of a model */

static int
failed(const struct h1b_writer *w, const char *what)
{
	return err_set(w->e, ERR_SYSTEM, "%.140s: %s: %s", w->path, what,
	    strerror(errno));
}

/* The temporary file beside path becomes path. */
static int
publish(struct h1b_writer *w, const char *temp, bool force)
{
	char *slash, *dir;
	int fd;

	if (renameat2(AT_FDCWD, temp, AT_FDCWD, w->path,
	    force ? 0 : RENAME_NOREPLACE) != 0)
		return errno == EEXIST ? err_set(w->e, ERR_EXISTS,
		    "%.200s exists already", w->path) : failed(w, "rename");
	if ((dir = strdup(w->path)) == NULL)
		return 0;
	if ((slash = strrchr(dir, '/')) != NULL)
		slash[slash == dir] = '\0';
	/* Some file systems cannot sync a directory; then the name may be lost in
	 * a crash, the contents never. */
	if ((fd = open(slash != NULL ? dir : ".", O_RDONLY | O_CLOEXEC)) >= 0) {
		(void)fsync(fd);
		close(fd);
	}
	free(dir);
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
	if (fclose(w->fp) != 0 && rc == 0)
		rc = failed(w, "close");
	return rc;
}

static int
write_file(struct h1b_writer *w, bool force)
{
	char *temp, random[17];
	int fd, rc;

	if (!force && access(w->path, F_OK) == 0)
		return err_set(w->e, ERR_EXISTS, "%.200s exists already",
		    w->path);
	random_hex(random, 8);
	if (asprintf(&temp, "%s.%s", w->path, random) < 0)
		return err_set(w->e, ERR_NO_MEMORY, "no memory for a name");
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 || (w->fp = fdopen(fd, "w")) == NULL) {
		rc = failed(w, "open");
		if (fd >= 0) {
			close(fd);
			unlink(temp);
		}
		free(temp);
		return rc;
	}
	if ((rc = write_temp(w, temp)) == 0)
		rc = publish(w, temp, force);
	if (rc != 0)
		unlink(temp);
	free(temp);
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

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "half.h"
#include "model/h1b.h"

static int
map(int fd, const char *path, struct stat *st, void **bytes, struct err *e)
{
	if (fstat(fd, st) != 0)
		return err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_BAD_FILE, "%s: not a regular file", path);
	if ((size_t)st->st_size < sizeof(struct h1b_header))
		return err_set(e, ERR_BAD_FILE,
		    "%s: %lld bytes, too short for a model", path,
		    (long long)st->st_size);
	*bytes = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (*bytes == MAP_FAILED)
		return err_set(e, ERR_SYSTEM, "%s: mmap: %s", path,
		    strerror(errno));
	/* The check reads all of it once, from front to back. */
	(void)madvise(*bytes, (size_t)st->st_size, MADV_WILLNEED);
	return 0;
}

/* The name of the file without directory and ".h1b". */
static void
stem(const char *path, char *out, size_t cap)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash != NULL ? slash + 1 : path;
	size_t n = strlen(base);

	if (n > 4 && strcmp(base + n - 4, ".h1b") == 0)
		n -= 4;
	if (n >= cap)
		n = cap - 1;
	memcpy(out, base, n);
	out[n] = '\0';
}

int
model_open(const char *path, bool lock, struct model *m, struct err *e)
{
	struct model opened;
	struct stat st;
	void *bytes;
	int fd, r;

	/* Not to wait for the other end of a FIFO. */
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) < 0)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM,
		    "%s: %s", path, strerror(errno));
	r = map(fd, path, &st, &bytes, e);
	close(fd);
	if (r != 0)
		return r;
	if ((r = model_parse(bytes, (size_t)st.st_size, path, &opened, e)) != 0) {
		munmap(bytes, (size_t)st.st_size);
		return r;
	}
	opened.map = bytes;
	opened.map_size = (size_t)st.st_size;
	opened.file_time = st.st_mtime;
	opened.locked = lock && mlock(bytes, opened.map_size) == 0;
	stem(path, opened.name, sizeof(opened.name));
	*m = opened;
	return 0;
}

void
model_close(struct model *m)
{
	free(m->layers);
	if (m->map != NULL)
		munmap(m->map, m->map_size);
	*m = (struct model){ 0 };
}

int
ternary_weight(const struct ternary *w, int32_t o, int32_t i)
{
	const uint8_t *row = w->codes + (size_t)o * (size_t)w->stride;
	int32_t in = i % TERNARY_BLOCK;

	row += i / TERNARY_BLOCK * (TERNARY_BLOCK / 4) + in % 64;
	return (*row >> in / 64 * 2 & 3) - 1;
}

/* Row o of d, which is I8: one factor for each group of columns. */
static void
scale_i8(const int8_t *q, const struct dense *d, int32_t o, float *out)
{
	size_t n = (size_t)d->n_in;
	size_t group = d->group > 0 ? (size_t)d->group : n;
	const float *scales = d->scales + (size_t)o * ((n + group - 1) / group);

	for (size_t i = 0; i < n; i++)
		out[i] = scales[i / group] * (float)q[i];
}

void
dense_row(const struct dense *d, int32_t o, float *out)
{
	size_t n = (size_t)d->n_in, at = (size_t)o * n;

	switch (d->type) {
	case DENSE_BF16:
		for (size_t i = 0; i < n; i++)
			out[i] = bfloat_to_f32(
			    ((const uint16_t *)d->data)[at + i]);
		break;
	case DENSE_I8:
		scale_i8((const int8_t *)d->data + at, d, o, out);
		break;
	case DENSE_F16:
		for (size_t i = 0; i < n; i++)
			out[i] = half_to_f32(((const uint16_t *)d->data)[at + i]);
		break;
	case DENSE_F32:
		memcpy(out, (const float *)d->data + at, n * sizeof(float));
		break;
	}
}

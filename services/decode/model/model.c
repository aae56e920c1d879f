#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "half.h"
#include "model/base3.h"
#include "model/h1b.h"
#include "model/import.h"
#include "model/model_file.h"
#include "model/packed.h"

static int
open_h1b(const char *path, const struct model_open_options *o, struct model *m,
    struct err *e)
{
	struct model_file f;
	int r = model_file_open(path, o, &f, e);

	if (r != 0)
		return r;
	r = h1b_parse(f.bytes, f.n, path, o->light && f.mapped, m, e);
	if (r != 0) {
		model_file_close(&f);
		return r;
	}
	m->map = f.bytes;
	m->map_size = f.n;
	m->mapped = f.mapped;
	m->memory = f.memory;
	m->file_time = f.time;
	return 0;
}

static int
open_other(const char *path, const struct model_open_options *o,
    struct model *m, struct err *e)
{
	struct h1b_source s;
	struct import *im;
	struct stat st;
	void *image;
	size_t n;
	int r;

	if ((r = import_open(path, &im, &s, e)) != 0)
		return r;
	s.progress = o->progress;
	s.writer_arg = o->arg;
	if ((r = h1b_image(&s, &image, &n, e)) != 0)
		import_name_error(path, r, e);
	else if ((r = model_parse(image, n, path, m, e)) != 0)
		munmap(image, n);
	if (r == 0) {
		m->map = image;
		m->map_size = n;
		m->file_time = stat(path, &st) == 0 ? st.st_mtime : 0;
		snprintf(m->note, sizeof(m->note), "%s", import_note(im));
	}
	import_close(im);
	return r;
}

int
model_open_with(const char *path, const struct model_open_options *o,
    struct model *m, struct err *e)
{
	struct model opened;
	int r = import_is_h1b(path) ? open_h1b(path, o, &opened, e) :
	    open_other(path, o, &opened, e);

	if (r != 0)
		return r;
	import_name(path, opened.name, sizeof(opened.name));
	*m = opened;
	return 0;
}

int
model_open(const char *path, bool lock, struct model *m, struct err *e)
{
	const struct model_open_options o = { .pages = MODEL_NORMAL };
	struct err why;
	int r = model_open_with(path, &o, m, e);

	if (r == 0 && lock)
		(void)model_lock(m, &why);
	return r;
}

int
model_lock(struct model *m, struct err *e)
{
	size_t have = memory_available();
	int r;

	/* To lock a mapping is to read it, and where that does not fit, to be killed. */
	r = m->mapped && m->map_size > have ?
	    err_set(e, ERR_NO_MEMORY, "the weights (%zu MiB) cannot be locked in "
	    "memory: %zu MiB are available", m->map_size >> 20, have >> 20) :
	    memory_lock(m->map, m->map_size, "the weights", e);
	m->locked = r == 0;
	return r;
}

void
model_close(struct model *m)
{
	free(m->layers);
	if (m->memory.p != NULL)
		memory_free(&m->memory);
	else if (m->map != NULL)
		munmap(m->map, m->map_size);
	*m = (struct model){ 0 };
}

int
ternary_weight(const struct ternary *w, int32_t o, int32_t i)
{
	const uint8_t *row = w->codes + (size_t)o * (size_t)w->stride;
	int32_t in = i % TERNARY_BLOCK;

	if (w->form == TERNARY_B3)
		return base3_code(row, i) - 1;
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

	for (size_t at = 0; at < n; at += group, scales++)
		for (size_t i = at; i < at + group && i < n; i++)
			out[i] = *scales * (float)q[i];
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
	case DENSE_Q6:
	case DENSE_Q4:
		packed_row(d->type, (const uint8_t *)d->data + (size_t)o *
		    (size_t)packed_stride(d->type, d->n_in), d->scales[o],
		    d->n_in, out);
		break;
	}
}

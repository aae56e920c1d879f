#ifndef DECODE_H1B_WRITER_H
#define DECODE_H1B_WRITER_H

#include <stdio.h>

#include "model/h1b.h"

/*
 * One .h1b on its way out: what h1b_write.c (contents) and h1b_out.c (files and
 * memory) share.  All offsets are known after h1b_writer_init.
 */
struct h1b_writer {
	const struct h1b_source *s;
	const char *path;		/* for sentences */
	FILE *fp;			/* where to: a file … */
	uint8_t *image;			/* … or [header.file_size], all zeros */
	struct h1b_header header;
	struct h1b_form form;
	struct h1b_section *list;
	struct h1b_entry *dir;
	uint32_t n;
	uint32_t at;			/* the section being written */
	float *scales;			/* of the tensor being written */
	float *row_scales;		/* of one row, as the source has them */
	float *row;			/* [cols_max] */
	uint8_t *codes, *out;		/* one row: codes [cols_max]; bytes */
	uint64_t done, dropped;		/* bytes; up to where drop was called */
	struct err *e;
};

/* Check the source, lay everything out, take memory.  w->e stays in use. */
int h1b_writer_init(struct h1b_writer *w, const struct h1b_source *s,
    const char *path, bool probe, struct err *e);

/* All sections, then header and directory, which hold their checksums. */
int h1b_writer_run(struct h1b_writer *w);

/* The probe: bytes [n] behind a file that h1b_writer_run wrote without one. */
int h1b_writer_probe(struct h1b_writer *w, const void *bytes, size_t n);

void h1b_writer_finish(struct h1b_writer *w);

#endif

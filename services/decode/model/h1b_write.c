#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "model/crc32c.h"
#include "model/h1b.h"
#include "model/h1b_check.h"

/*
 * All offsets are known before the first byte is written, so the contents go
 * out in one pass, row by row, and the header and directory, which hold their
 * checksums, are put before them at the end.
 */
struct writer {
	const struct h1b_source *s;
	const char *path;
	FILE *fp;
	struct h1b_header header;
	struct h1b_section *list;
	struct h1b_entry *dir;
	uint32_t n;
	uint32_t at;		/* the section being written */
	float *scales;		/* of the tensor being written [rows_max] */
	float *row;		/* [cols_max] */
	uint8_t *codes, *out;	/* one row: codes [cols_max]; bytes */
	uint64_t done;
	struct err *e;
};

static int
failed(const struct writer *w, const char *what)
{
	return err_set(w->e, ERR_SYSTEM, "%.140s: %s: %s", w->path, what,
	    strerror(errno));
}

static int
put(struct writer *w, const void *bytes, size_t n)
{
	struct h1b_entry *en = &w->dir[w->at];

	en->crc = crc32c(en->crc, bytes, n);
	if (n > 0 && fwrite(bytes, n, 1, w->fp) != 1)
		return failed(w, "write");
	w->done += n;
	if (w->s->progress != NULL)
		w->s->progress(w->s->arg, w->done, w->header.file_size);
	return 0;
}

/* Half to even, as everything that rounds here. */
static uint16_t
to_bf16(float v)
{
	uint32_t u;

	memcpy(&u, &v, sizeof(u));
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* A row as int8 with its factor: the largest value becomes 127. */
static float
to_i8(const float *row, size_t n, int8_t *out)
{
	float max = 0, scale;

	for (size_t i = 0; i < n; i++)
		max = fabsf(row[i]) > max ? fabsf(row[i]) : max;
	scale = max / 127;
	for (size_t i = 0; i < n; i++) {
		float q = scale > 0 ? rintf(row[i] / scale) : 0;

		/* The quotient of denormal numbers is far from exact. */
		out[i] = (int8_t)fmaxf(-127, fminf(127, q));
	}
	return scale;
}

static size_t
to_bytes(struct writer *w, const struct h1b_section *s, uint64_t o)
{
	size_t n = s->dims[1];

	switch (s->type) {
	case H1B_BF16:
		for (size_t i = 0; i < n; i++) {
			uint16_t v = to_bf16(w->row[i]);

			memcpy(w->out + 2 * i, &v, 2);
		}
		return 2 * n;
	case H1B_I8:
		w->scales[o] = to_i8(w->row, n, (int8_t *)w->out);
		return n;
	case H1B_T2:
		h1b_t2_pack(w->codes, (int32_t)n, w->out);
		return (size_t)h1b_t2_stride((int32_t)n);
	case H1B_F32:
	case H1B_BYTES:
		break;
	}
	memcpy(w->out, w->row, n * sizeof(float));
	return n * sizeof(float);
}

static int
write_tensor(struct writer *w, const struct h1b_section *s)
{
	const struct h1b_source *src = w->s;
	int rc;

	for (uint64_t o = 0; o < s->dims[0]; o++) {
		size_t n;

		rc = s->type == H1B_T2 ?
		    src->codes(src->arg, s->part, s->layer, (int32_t)o,
		        w->codes, &w->scales[o], w->e) :
		    src->row(src->arg, s->part, s->layer, (int32_t)o, w->row,
		        w->e);
		if (rc != 0)
			return rc;
		if (s->type != H1B_T2 && !h1b_check_f32(w->row,
		    s->dims[1] * sizeof(float)))
			return err_set(w->e, ERR_BAD_FILE, "'%s', row %llu: "
			    "a value that is not finite", s->name,
			    (unsigned long long)o);
		n = to_bytes(w, s, o);
		if ((rc = put(w, w->out, n)) != 0)
			return rc;
	}
	return 0;
}

static int
write_scales(struct writer *w, const struct h1b_section *s)
{
	if (!h1b_check_scales(w->scales, s->dims[1]))
		return err_set(w->e, ERR_BAD_FILE,
		    "'%s': a scale that is negative or not finite", s->name);
	return put(w, w->scales, s->size);
}

static const void *
text_of(const struct h1b_source *s, enum h1b_part part, size_t *n)
{
	const char *text = part == H1B_ARCHITECTURE ? s->architecture :
	    part == H1B_NAME ? s->name : s->origin;

	if (part == H1B_CHAT_TEMPLATE) {
		*n = s->n_chat_template;
		return s->chat_template;
	}
	if (part == H1B_TOKENIZER) {
		*n = s->n_tokenizer;
		return s->tokenizer;
	}
	*n = strlen(text);
	return text;
}

static int
check_text(const struct h1b_section *s, const char *text, size_t n,
    struct err *e)
{
	if (n > s->size)
		return err_set(e, ERR_RANGE, "%s: %zu bytes, more than %llu",
		    s->name, n, (unsigned long long)s->size);
	if (s->part == H1B_ARCHITECTURE && n == 0)
		return err_set(e, ERR_RANGE, "the architecture has no name");
	if (s->part < H1B_CHAT_TEMPLATE)
		for (size_t i = 0; i < n; i++)
			if (text[i] < ' ' || text[i] > '~')
				return err_set(e, ERR_RANGE,
				    "%s: not printable ASCII", s->name);
	return 0;
}

/* Everything of the directory but the checksums, and of the header too. */
static int
plan(struct writer *w)
{
	const struct model_config *c = &w->s->config;
	struct h1b_header *h = &w->header;
	uint64_t end = sizeof(*h) + (uint64_t)w->n * sizeof(*w->dir);

	for (uint32_t i = 0; i < w->n; i++) {
		const struct h1b_section *s = &w->list[i];
		struct h1b_entry *en = &w->dir[i];
		size_t n = s->size;
		int rc;

		memcpy(en->name, s->name, sizeof(en->name));
		en->type = s->type;
		memcpy(en->dims, s->dims, sizeof(en->dims));
		if (s->type == H1B_BYTES) {
			const char *text = text_of(w->s, s->part, &n);

			if ((rc = check_text(s, text, n, w->e)) != 0)
				return rc;
			en->dims[1] = n;
		}
		en->size = n;
		en->offset = h1b_align(end);
		end = en->offset + n;
	}
	*h = (struct h1b_header){
		.magic = H1B_MAGIC, .version = H1B_VERSION, .file_size = end,
		.header_size = sizeof(*h), .n_sections = w->n,
		.vocab = c->vocab, .hidden = c->hidden,
		.n_layers = c->n_layers, .n_heads = c->n_heads,
		.n_kv_heads = c->n_kv_heads, .head_dim = c->head_dim,
		.ffn = c->ffn, .n_ctx = c->n_ctx,
		.rope_theta = c->rope_theta, .norm_eps = c->norm_eps,
		.act = c->act,
		.flags = (c->rope_interleaved ? H1B_ROPE_INTERLEAVED : 0u) |
		    (c->sub_norms ? H1B_SUB_NORMS : 0u) |
		    (c->tied ? H1B_TIED : 0u),
		.bos = c->bos, .n_eos = c->n_eos,
		.embed_type = w->s->embed_type,
		.head_type = c->tied ? 0 : w->s->head_type,
	};
	memcpy(h->eos, c->eos, sizeof(h->eos));
	return 0;
}

static int
take_memory(struct writer *w)
{
	uint64_t rows = 1, cols = 1;

	for (uint32_t i = 0; i < w->n; i++) {
		const struct h1b_section *s = &w->list[i];

		if (s->type == H1B_BYTES)
			continue;
		rows = s->dims[0] > rows ? s->dims[0] : rows;
		cols = !s->scale && s->dims[1] > cols ? s->dims[1] : cols;
	}
	w->dir = calloc(w->n, sizeof(*w->dir));
	w->scales = calloc(rows, sizeof(float));
	w->row = calloc(cols, sizeof(float));
	w->codes = calloc(cols, 1);
	w->out = calloc(cols, sizeof(float));
	if (w->n == 0 || w->dir == NULL || w->scales == NULL ||
	    w->row == NULL || w->codes == NULL || w->out == NULL)
		return err_set(w->e, ERR_NO_MEMORY, "no memory for one row");
	/* A row of T2 is at most 64 bytes longer than a quarter of its codes. */
	if (cols < TERNARY_BLOCK) {
		free(w->out);
		if ((w->out = calloc(TERNARY_BLOCK, sizeof(float))) == NULL)
			return err_set(w->e, ERR_NO_MEMORY,
			    "no memory for one row");
	}
	return 0;
}

static int
write_all(struct writer *w)
{
	struct h1b_header *h = &w->header;
	int rc = 0;

	for (w->at = 0; rc == 0 && w->at < w->n; w->at++) {
		const struct h1b_section *s = &w->list[w->at];
		const struct h1b_entry *en = &w->dir[w->at];

		/* What is jumped over reads as zeros. */
		if (fseeko(w->fp, (off_t)en->offset, SEEK_SET) != 0)
			return failed(w, "seek");
		if (s->type == H1B_BYTES) {
			size_t n;
			const void *text = text_of(w->s, s->part, &n);

			rc = put(w, text, n);
		} else if (s->scale)
			rc = write_scales(w, s);
		else
			rc = write_tensor(w, s);
	}
	if (rc != 0)
		return rc;
	h->directory_crc = crc32c(0, w->dir, w->n * sizeof(*w->dir));
	h->header_crc = crc32c(0, h, sizeof(*h));
	if (fseeko(w->fp, 0, SEEK_SET) != 0 ||
	    fwrite(h, sizeof(*h), 1, w->fp) != 1 ||
	    fwrite(w->dir, sizeof(*w->dir), w->n, w->fp) != w->n ||
	    fflush(w->fp) != 0 || fsync(fileno(w->fp)) != 0)
		return failed(w, "write");
	return 0;
}

/* The temporary file beside path becomes path. */
static int
publish(struct writer *w, const char *temp, bool force)
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

static int
write_file(struct writer *w, bool force)
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
	if (fd < 0 ||
	    (w->fp = fdopen(fd, "w")) == NULL) {
		rc = failed(w, "open");
		if (fd >= 0) {
			close(fd);
			unlink(temp);
		}
		free(temp);
		return rc;
	}
	rc = write_all(w);
	if (fclose(w->fp) != 0 && rc == 0)
		rc = failed(w, "close");
	if (rc == 0)
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
	struct writer w = { .s = s, .path = path, .e = e };
	int rc;

	if ((rc = model_config_check(&s->config, e)) != 0 ||
	    (rc = h1b_layout(&s->config, s->embed_type, s->head_type, &w.list,
	    &w.n, e)) != 0)
		return rc;
	if ((rc = take_memory(&w)) == 0 && (rc = plan(&w)) == 0)
		rc = write_file(&w, force);
	free(w.list);
	free(w.dir);
	free(w.scales);
	free(w.row);
	free(w.codes);
	free(w.out);
	return rc;
}

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "model/gguf_model.h"
#include "model/hf.h"
#include "model/import.h"
#include "model/legacy.h"
#include "model/model_source.h"

/*
 * Eight bytes tell the containers apart: two have a magic, and a safetensors
 * begins with the length of a JSON object, of which the ninth byte is '{'.
 */
enum kind { DIRECTORY, GGUF, LEGACY, H1B, SAFETENSORS };

struct import {
	enum kind kind;
	struct hf *hf;
	struct gguf_model *gguf;
	struct legacy *legacy;
	struct model h1b;		/* closed or { 0 } */
	char name[256];
	char *origin;			/* of a .h1b; owned */
};

/* Up to n bytes from the start of a regular file; none of a directory. */
static int
read_start(const char *path, void *bytes, size_t n, size_t *got,
    struct stat *st, struct err *e)
{
	/* Not to wait for the other end of a FIFO. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t k = 0;

	if (fd < 0 || fstat(fd, st) != 0) {
		err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM,
		    "%.200s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM;
	}
	if (S_ISREG(st->st_mode))
		k = pread(fd, bytes, n, 0);
	close(fd);
	*got = k > 0 ? (size_t)k : 0;
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
		return err_set(e, ERR_BAD_FILE, "%.200s: not a regular file",
		    path);
	return k < 0 ? err_set(e, ERR_SYSTEM, "%.200s: cannot be read", path) :
	    0;
}

static int
sniff(const char *path, enum kind *kind, struct err *e)
{
	uint8_t b[9] = { 0 };
	struct stat st;
	int32_t version;
	uint64_t length;
	size_t n = 0;
	int rc;

	if ((rc = read_start(path, b, sizeof(b), &n, &st, e)) != 0)
		return rc;
	memcpy(&version, b + 4, 4);
	memcpy(&length, b, 8);
	if (S_ISDIR(st.st_mode))
		*kind = DIRECTORY;
	else if (n < 8)
		return err_set(e, ERR_BAD_FILE, "%.200s: %zu bytes, too short "
		    "for a model", path, n);
	else if (memcmp(b, "GGUF", 4) == 0)
		*kind = GGUF;
	else if (memcmp(b, H1B_MAGIC, 4) == 0)
		*kind = version >= 1 && version <= 5 ? LEGACY : H1B;
	else if (b[8] == '{' && length >= 2 &&
	    length <= (uint64_t)st.st_size - 8)
		*kind = SAFETENSORS;
	else
		return err_set(e, ERR_BAD_FILE, "%.140s: no .h1b, GGUF or "
		    "safetensors file: it begins with %02x %02x %02x %02x",
		    path, b[0], b[1], b[2], b[3]);
	return 0;
}

bool
import_is_h1b(const char *path)
{
	enum kind kind;

	return sniff(path, &kind, NULL) == 0 && kind == H1B;
}

static bool
cut(const char *s, size_t *n, const char *end)
{
	size_t k = strlen(end);

	if (*n <= k || memcmp(s + *n - k, end, k) != 0)
		return false;
	*n -= k;
	return true;
}

void
import_name(const char *path, char *out, size_t cap)
{
	char *real = realpath(path, NULL);
	const char *base = real != NULL ? real : path;
	struct stat st;
	size_t n;

	/* A link has the name that the user gave it; "." and "a/" have none. */
	if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
		base = path;
	base = strrchr(base, '/') != NULL ? strrchr(base, '/') + 1 : base;
	n = strlen(base);
	(void)(cut(base, &n, ".h1b") || cut(base, &n, ".gguf") ||
	    cut(base, &n, ".safetensors"));
	n = n < cap ? n : cap - 1;
	for (size_t i = 0; i < n; i++)
		out[i] = base[i] < ' ' || base[i] > '~' ? '?' : base[i];
	out[n] = '\0';
	free(real);
}

static int
open_hf(struct import *im, const char *dir, struct h1b_source *s, struct err *e)
{
	int rc = hf_open(dir, &im->hf, e);

	if (rc != 0)
		return rc;
	hf_source(im->hf, s);
	import_name(dir, im->name, sizeof(im->name));
	return 0;
}

/* A checkpoint is a directory, whichever of its files was named. */
static int
open_shard(struct import *im, const char *path, struct h1b_source *s,
    struct err *e)
{
	char *dir = strdup(path), *slash;
	int rc;

	if (dir == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a path");
	if ((slash = strrchr(dir, '/')) != NULL)
		slash[slash == dir] = '\0';
	rc = open_hf(im, slash != NULL ? dir : ".", s, e);
	free(dir);
	return rc;
}

static int
open_gguf(struct import *im, const char *path, struct h1b_source *s,
    struct err *e)
{
	int rc = gguf_model_open(path, &im->gguf, e);

	if (rc == 0)
		gguf_model_source(im->gguf, s);
	return rc;
}

static int
open_legacy(struct import *im, const char *path, struct h1b_source *s,
    struct err *e)
{
	int rc = legacy_open(path, &im->legacy, e);

	if (rc == 0)
		legacy_source(im->legacy, s);
	return rc;
}

static int
open_h1b(struct import *im, const char *path, struct h1b_source *s,
    struct err *e)
{
	struct model *m = &im->h1b;
	const struct model_open_options light = { .light = true };
	int rc = model_open_with(path, &light, m, e);

	if (rc != 0)
		return rc;
	model_source(m, s);
	memcpy(im->name, m->title, sizeof(im->name));
	im->origin = m->n_source > 0 ? strndup(m->source, m->n_source) :
	    strdup("");
	return im->origin != NULL ? 0 : err_set(e, ERR_NO_MEMORY,
	    "no memory for a text");
}

/* A checkpoint is many files, and its reader speaks of their contents; so does who
 * asks for rows. */
void
import_name_error(const char *path, int rc, struct err *e)
{
	struct err said;

	if (e == NULL || strstr(e->text, path) != NULL)
		return;
	said = *e;
	err_set(e, rc, "%.100s: %s", path, said.text);
}

int
import_open(const char *path, struct import **im, struct h1b_source *s,
    struct err *e)
{
	struct import *o = calloc(1, sizeof(*o));
	struct h1b_source from = { 0 };
	int rc;

	if (o == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a model");
	if ((rc = sniff(path, &o->kind, e)) == 0) {
		import_name(path, o->name, sizeof(o->name));
		rc = o->kind == DIRECTORY ? open_hf(o, path, &from, e) :
		    o->kind == SAFETENSORS ? open_shard(o, path, &from, e) :
		    o->kind == GGUF ? open_gguf(o, path, &from, e) :
		    o->kind == LEGACY ? open_legacy(o, path, &from, e) :
		    open_h1b(o, path, &from, e);
	}
	if (rc != 0) {
		import_close(o);
		import_name_error(path, rc, e);
		return rc;
	}
	from.name = o->name;
	from.origin = o->origin != NULL ? o->origin : o->name;
	*s = from;
	*im = o;
	return 0;
}

void
import_close(struct import *im)
{
	if (im == NULL)
		return;
	hf_close(im->hf);
	gguf_model_close(im->gguf);
	legacy_close(im->legacy);
	model_close(&im->h1b);
	free(im->origin);
	free(im);
}

const char *
import_note(const struct import *im)
{
	return im->gguf != NULL ? gguf_model_note(im->gguf) : "";
}

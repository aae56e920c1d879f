#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/hf.h"
#include "pkg.h"
#include "progress.h"

/* A model that is a .h1b already, as the source of another. */
static int
model_row(void *arg, enum h1b_part part, int32_t layer, int32_t row, float *out,
    struct err *e)
{
	const struct model *m = arg;
	const struct model_layer *l = &m->layers[layer < 0 ? 0 : layer];
	const float *norm;
	int32_t n = m->config.hidden;

	(void)e;
	switch (part) {
	case H1B_EMBED:
		dense_row(&m->embed, row, out);
		return 0;
	case H1B_HEAD:
		dense_row(&m->head, row, out);
		return 0;
	case H1B_ATTN_NORM:
		norm = l->attn_norm;
		break;
	case H1B_FFN_NORM:
		norm = l->ffn_norm;
		break;
	case H1B_ATTN_SUB_NORM:
		norm = l->attn_sub_norm;
		n = m->config.n_heads * m->config.head_dim;
		break;
	case H1B_FFN_SUB_NORM:
		norm = l->ffn_sub_norm;
		n = m->config.ffn;
		break;
	default:
		norm = m->norm;
	}
	memcpy(out, norm, (size_t)n * sizeof(float));
	return 0;
}

static int32_t
model_group(void *arg, enum h1b_part part, int32_t layer)
{
	const struct model *m = arg;
	const struct model_layer *l = &m->layers[layer];

	return part == H1B_Q ? l->q.group : part == H1B_K ? l->k.group :
	    part == H1B_V ? l->v.group : part == H1B_O ? l->o.group :
	    part == H1B_GATE ? l->gate.group : part == H1B_UP ? l->up.group :
	    l->down.group;
}

static int
model_codes(void *arg, enum h1b_part part, int32_t layer, int32_t row,
    uint8_t *codes, float *scales, struct err *e)
{
	const struct model *m = arg;
	const struct model_layer *l = &m->layers[layer];
	const struct ternary *w = part == H1B_Q ? &l->q : part == H1B_K ? &l->k :
	    part == H1B_V ? &l->v : part == H1B_O ? &l->o :
	    part == H1B_GATE ? &l->gate : part == H1B_UP ? &l->up : &l->down;

	int32_t n_groups = (w->n_in + w->group - 1) / w->group;

	(void)e;
	for (int32_t i = 0; i < w->n_in; i++)
		codes[i] = (uint8_t)(ternary_weight(w, row, i) + 1);
	memcpy(scales, w->scales + (size_t)row * (size_t)n_groups,
	    (size_t)n_groups * sizeof(float));
	return 0;
}

/* The first n bytes of a text in the map, as a string. */
static char *
text_of(const char *text, size_t n)
{
	char *s = malloc(n + 1);

	if (s != NULL) {
		if (n > 0)
			memcpy(s, text, n);
		s[n] = '\0';
	}
	return s;
}

struct job {
	const char *in, *out;
	enum dense_type head;
	const char *name, *origin;
	bool force;
};

static int
run(const struct job *j, struct h1b_source *s, const char *name,
    const char *origin, struct err *e)
{
	int rc;

	s->name = j->name != NULL ? j->name : name;
	s->origin = j->origin != NULL ? j->origin : origin;
	s->embed_type = j->head;
	s->head_type = s->config.tied ? 0 : j->head;
	s->progress = progress_show;
	rc = h1b_write(j->out, s, j->force, e);
	progress_end();
	return rc;
}

static int
convert_h1b(const struct job *j, struct err *e)
{
	struct h1b_source s;
	struct model m;
	char *origin;
	int rc;

	if ((rc = model_open(j->in, false, &m, e)) != 0)
		return rc;
	s = (struct h1b_source){ .config = m.config,
	    .architecture = m.architecture, .chat_template = m.chat_template,
	    .n_chat_template = m.n_chat_template, .tokenizer = m.tokenizer,
	    .n_tokenizer = m.n_tokenizer, .row = model_row,
	    .group = model_group, .codes = model_codes, .arg = &m };
	if ((origin = text_of(m.source, m.n_source)) == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "no memory for a text");
	else
		rc = run(j, &s, m.title, origin, e);
	free(origin);
	model_close(&m);
	return rc;
}

/* The last part of a path that is a directory's. */
static char *
name_of(const char *dir)
{
	char *real = realpath(dir, NULL), *base;

	if (real == NULL)
		return NULL;
	base = strdup(strrchr(real, '/') + 1);
	free(real);
	return base;
}

static int
convert_hf(const struct job *j, const char *dir, struct err *e)
{
	struct h1b_source s;
	struct hf *h;
	char *name;
	int rc;

	if ((rc = hf_open(dir, &h, e)) != 0)
		return rc;
	hf_source(h, &s);
	name = name_of(dir);
	rc = run(j, &s, name != NULL ? name : "", name != NULL ? name : "", e);
	free(name);
	hf_close(h);
	return rc;
}

static bool
ends_in(const char *path, const char *end)
{
	size_t n = strlen(path), k = strlen(end);

	return n >= k && strcmp(path + n - k, end) == 0;
}

static int
convert(const struct job *j, struct err *e)
{
	struct stat st;
	char *dir, *slash;
	int rc;

	if (stat(j->in, &st) != 0)
		return err_set(e, ERR_NOT_FOUND, "%.200s: no such file", j->in);
	if (S_ISDIR(st.st_mode))
		return convert_hf(j, j->in, e);
	if (ends_in(j->in, ".h1b"))
		return convert_h1b(j, e);
	if (!ends_in(j->in, ".safetensors"))
		return err_set(e, ERR_UNSUPPORTED, "%.150s: neither a directory "
		    "nor a .safetensors or .h1b file", j->in);
	if ((dir = strdup(j->in)) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a path");
	if ((slash = strrchr(dir, '/')) != NULL)
		slash[slash == dir] = '\0';
	rc = convert_hf(j, slash != NULL ? dir : ".", e);
	free(dir);
	return rc;
}

int
pkg_convert(int argc, char *argv[])
{
	const char *files[2], *head = "i8";
	struct job j = { 0 };
	struct err e;
	const struct pkg_option options[] = {
		{ "--head", &head, NULL }, { "--name", &j.name, NULL },
		{ "--source", &j.origin, NULL }, { "--force", NULL, &j.force },
		{ 0 },
	};

	if (pkg_options(argc, argv, options, files, 2, &e) != 0)
		return pkg_fail(&e);
	j.in = files[0];
	j.out = files[1];
	for (uint32_t t = DENSE_BF16; t <= DENSE_F32; t++)
		if (strcmp(head, h1b_type_name(t)) == 0)
			j.head = (enum dense_type)t;
	if (j.head == 0) {
		err_set(&e, ERR_RANGE, "--head is '%.30s', not i8, bf16 or f32",
		    head);
		return pkg_fail(&e);
	}
	return convert(&j, &e) != 0 ? pkg_fail(&e) : PKG_OK;
}

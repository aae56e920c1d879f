#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "model/import.h"
#include "pkg.h"
#include "progress.h"
#include "selfcheck.h"

struct job {
	const char *in, *out;
	const char *head;
	const char *name, *origin;
	bool force, no_probe;
};

int
pkg_head(const char *head, enum dense_type *type, int32_t *group, struct err *e)
{
	static const enum dense_type types[] = { DENSE_I8, DENSE_BF16, DENSE_F16,
	    DENSE_F32 };
	enum dense_type want = head == NULL ? DENSE_I8 : 0;

	if (head != NULL && strcmp(head, "keep") == 0)
		return 0;
	for (size_t i = 0; head != NULL && i < 4; i++)
		if (strcmp(head, h1b_type_name(types[i])) == 0)
			want = types[i];
	if (want == 0)
		return err_set(e, ERR_RANGE, "--head is '%.30s', not i8, bf16, "
		    "f16, f32 or keep", head);
	if (want == DENSE_I8 && *type == DENSE_I8)
		return 0;
	*type = want;
	*group = 0;
	return 0;
}

/* Everything is written; this takes some seconds of its own. */
static int
make_probe(void *arg, const struct model *m, struct buf *out, struct err *e)
{
	bool terminal = isatty(STDERR_FILENO) == 1;
	int rc;

	progress_end();
	if (terminal)
		fputs("computing the probe ...", stderr);
	rc = selfcheck_make(arg, m, out, e);
	if (terminal)
		fputs("\r\033[K", stderr);
	return rc;
}

static int
write_out(const struct job *j, struct h1b_source *s, struct err *e)
{
	int rc;

	if ((rc = pkg_head(j->head, &s->embed_type, &s->embed_group, e)) != 0 ||
	    (!s->config.tied && (rc = pkg_head(j->head, &s->head_type,
	    &s->head_group, e)) != 0))
		return rc;
	s->name = j->name != NULL ? j->name : s->name;
	s->origin = j->origin != NULL ? j->origin : s->origin;
	s->progress = progress_show;
	s->probe = j->no_probe ? NULL : make_probe;
	rc = h1b_write(j->out, s, j->force, e);
	progress_end();
	return rc;
}

static int
convert(const struct job *j, struct err *e)
{
	struct h1b_source s;
	struct import *im;
	int rc;

	if ((rc = import_open(j->in, &im, &s, e)) != 0)
		return rc;
	rc = write_out(j, &s, e);
	if (rc == 0 && import_note(im)[0] != '\0')
		fprintf(stderr, "1bit-halo-pkg: %s: %s\n", j->in,
		    import_note(im));
	import_close(im);
	return rc;
}

int
pkg_convert(int argc, char *argv[])
{
	const char *files[2];
	struct job j = { 0 };
	struct err e;
	const struct pkg_option options[] = {
		{ "--head", &j.head, NULL }, { "--name", &j.name, NULL },
		{ "--source", &j.origin, NULL }, { "--force", NULL, &j.force },
		{ "--no-probe", NULL, &j.no_probe },
		{ 0 },
	};

	if (pkg_options(argc, argv, options, files, 2, &e) != 0)
		return pkg_fail(&e);
	j.in = files[0];
	j.out = files[1];
	/* A wrong word is said before anything long begins. */
	if (pkg_head(j.head, &(enum dense_type){ DENSE_BF16 }, &(int32_t){ 0 },
	    &e) != 0)
		return pkg_fail(&e);
	return convert(&j, &e) != 0 ? pkg_fail(&e) : PKG_OK;
}

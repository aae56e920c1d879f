#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "model/import.h"
#include "model/model_guard.h"
#include "model/packed.h"
#include "pkg.h"
#include "progress.h"
#include "selfcheck.h"

struct job {
	const char *in, *out;
	const char *head, *embed;
	const char *body;
	const char *name, *origin;
	bool force, no_probe;
};

static int
choose(const char *option, const char *word, bool packed, enum dense_type *type,
    int32_t *group, struct err *e)
{
	static const enum dense_type types[] = { DENSE_I8, DENSE_BF16, DENSE_F16,
	    DENSE_F32, DENSE_Q6, DENSE_Q4 };
	enum dense_type want = word == NULL ? DENSE_I8 : 0;

	if (word == NULL ? packed_bits(*type) > 0 : strcmp(word, "keep") == 0)
		return 0;
	for (size_t i = 0; word != NULL && i < (packed ? 6 : 4); i++)
		if (strcmp(word, h1b_type_name(types[i])) == 0)
			want = types[i];
	if (want == 0)
		return err_set(e, ERR_RANGE, "%s is '%.30s', not i8, %sbf16, "
		    "f16, f32 or keep", option, word, packed ? "q6, q4, " : "");
	if (want == *type && (want == DENSE_I8 || packed_bits(want) > 0))
		return 0;
	*type = want;
	*group = 0;
	return 0;
}

int
pkg_head(const char *head, enum dense_type *type, int32_t *group, struct err *e)
{
	return choose("--head", head, true, type, group, e);
}

int
pkg_body(const char *body, enum ternary_form *form, struct err *e)
{
	*form = body != NULL && strcmp(body, "b3") == 0 ? TERNARY_B3 :
	    TERNARY_T2;
	return body == NULL || strcmp(body, h1b_type_name(*form == TERNARY_B3 ?
	    H1B_B3 : H1B_T2)) == 0 ? 0 : err_set(e, ERR_RANGE,
	    "--body is '%.30s', not t2 or b3", body);
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

/*
 * A packed head stands beside an embedding, which is int8 if nothing else was
 * asked for: its rows are looked up as they are without one.  Two that are held
 * alike stay tied.
 */
static int
choose_types(const struct job *j, struct h1b_source *s, struct err *e)
{
	bool tied = s->config.tied, keep;
	enum dense_type head = tied ? s->embed_type : s->head_type;
	int32_t group = tied ? s->embed_group : s->head_group;
	const char *embed = j->embed;
	int rc = choose("--head", j->head, true, &head, &group, e);

	keep = j->head == NULL || strcmp(j->head, "keep") == 0;
	if (embed == NULL && (keep || packed_bits(head) == 0))
		embed = j->head;
	if (rc != 0 || (rc = choose("--embed", embed, false, &s->embed_type,
	    &s->embed_group, e)) != 0)
		return rc;
	s->config.tied = tied && head == s->embed_type;
	s->head_of_embed = tied && !s->config.tied;
	s->head_type = s->config.tied ? 0 : head;
	s->head_group = group;
	return 0;
}

static int
write_out(const struct job *j, struct h1b_source *s, struct err *e)
{
	int rc;

	if ((rc = choose_types(j, s, e)) != 0 ||
	    (rc = pkg_body(j->body, &s->body, e)) != 0)
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

	model_guard_open("1bit-halo-pkg", j->in, PKG_UNUSABLE);
	if ((rc = import_open(j->in, &im, &s, e)) != 0)
		return rc;
	rc = write_out(j, &s, e);
	/* Not of what is written. */
	if (rc == ERR_BAD_FILE || rc == ERR_UNSUPPORTED)
		import_name_error(j->in, rc, e);
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
		{ "--head", &j.head, NULL }, { "--embed", &j.embed, NULL },
		{ "--body", &j.body, NULL }, { "--name", &j.name, NULL },
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
	    &e) != 0 || choose("--embed", j.embed, false, &(enum dense_type){
	    DENSE_BF16 }, &(int32_t){ 0 }, &e) != 0 ||
	    pkg_body(j.body, &(enum ternary_form){ 0 }, &e) != 0)
		return pkg_fail(&e);
	return convert(&j, &e) != 0 ? pkg_fail(&e) : PKG_OK;
}

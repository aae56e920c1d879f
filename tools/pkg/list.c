#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "catalogue.h"
#include "manifest.h"
#include "pkg.h"
#include "store.h"

struct listing {
	struct store store;
	bool verify, json;
	json_t *all;		/* one object a model */
	struct manifest m;	/* of the one at hand */
	int n_bad;
};

static json_t *
text_or_null(const char *text)
{
	return text[0] != '\0' ? json_string(text) : json_null();
}

/* Every file of m again; false, with a line on stderr, if one is not what was
 * pulled. */
static bool
check_sums(struct listing *l, const struct manifest *m)
{
	char path[2 * STORE_PATH_MAX], sum[MANIFEST_SHA_LEN + 1];
	bool good = true;
	int64_t size;
	struct err e;

	for (size_t i = 0; i < m->n_files; i++) {
		const struct manifest_file *f = &m->files[i];

		snprintf(path, sizeof(path), "%s%s%s", m->name,
		    m->directory ? "/" : "", m->directory ? f->path : "");
		if (store_sum(&l->store, path, sum, &size, &e) != 0) {
			pkg_fail(&e);
			good = false;
		} else if (strcmp(sum, f->sha256) != 0) {
			fprintf(stderr, "1bit-halo-pkg: %s/%s: sha256 is %s, "
			    "but %s was pulled\n", l->store.path, path, sum,
			    f->sha256);
			good = false;
		}
	}
	return good;
}

/* The manifest says when this was; if it cannot be written, it does not. */
static void
remember(struct listing *l, const char *file)
{
	int lock;

	if (store_lock(&l->store, l->m.name, &lock, NULL) != 0)
		return;
	manifest_save(&l->store, file, &l->m, NULL);
	store_unlock(&l->store, l->m.name, lock);
}

static void
add_model(struct listing *l, const char *name)
{
	const char *format = store_format(&l->store, name);
	char file[STORE_PATH_MAX];
	struct manifest *m = &l->m;
	bool known;
	json_t *o;

	*m = (struct manifest){ 0 };
	known = manifest_load(&l->store, store_beside(name,
	    ".manifest.json", file), m, NULL) == 0 &&
	    strcmp(m->name, name) == 0;
	if (format == NULL && !known) {
		manifest_finish(m);
		return;
	}
	if (known && l->verify) {
		if (check_sums(l, m)) {
			manifest_now(m->verified);
			remember(l, file);
		} else {
			m->verified[0] = '\0';
			l->n_bad++;
		}
	}
	o = json_pack("{s:s,s:s?,s:I,s:o,s:o,s:o,s:o,s:o,s:b}", "name", name,
	    "format", format, "bytes", (json_int_t)store_size(&l->store, name),
	    "licence", text_or_null(m->licence),
	    "source", text_or_null(m->source),
	    "revision", text_or_null(m->revision),
	    "pulled", text_or_null(m->pulled),
	    "verified", text_or_null(m->verified),
	    "pinned", known && manifest_pinned(m));
	if (o != NULL)
		json_array_append_new(l->all, o);
	manifest_finish(m);
}

/* NAME.part.json: a pull that did not end. */
static void
add_unfinished(struct listing *l, const char *file)
{
	char part[STORE_PATH_MAX];
	struct manifest *m = &l->m;
	json_t *o;

	if (manifest_load(&l->store, file, m, NULL) != 0)
		return;
	store_beside(m->name, ".part", part);
	o = json_pack("{s:s,s:s,s:I,s:o,s:o,s:o}", "name", m->name,
	    "format", "unfinished",
	    "bytes", (json_int_t)store_size(&l->store, part),
	    "bytes_total", manifest_size(m) < 0 ? json_null() :
	    json_integer(manifest_size(m)),
	    "licence", text_or_null(m->licence),
	    "source", text_or_null(m->source));
	if (o != NULL)
		json_array_append_new(l->all, o);
	manifest_finish(m);
}

static bool
ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n >= k && strcmp(name + n - k, end) == 0;
}

static const char *
cell(const json_t *o, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : otherwise;
}

static void
print_table(const struct listing *l)
{
	const json_t *o;
	size_t i;

	printf("%-28s %-11s %10s  %-18s %-20s %s\n", "NAME", "FORMAT", "SIZE",
	    "LICENCE", "VERIFIED", "SOURCE");
	json_array_foreach(l->all, i, o) {
		char size[32];

		pkg_size((double)json_integer_value(json_object_get(o,
		    "bytes")), size);
		printf("%-28s %-11s %10s  %-18s %-20s %s\n",
		    cell(o, "name", ""), cell(o, "format", "unknown"), size,
		    cell(o, "licence", "-"), cell(o, "verified", "-"),
		    cell(o, "source", "-"));
	}
}

static int
print_catalogue(bool json)
{
	json_t *all = json_array();

	if (!json)
		printf("%-26s %-42s %-19s %s\n", "NAME", "REPOSITORY",
		    "LICENCE", "NOTE");
	for (const struct catalogue_entry *c = catalogue; c->name != NULL; c++)
		if (json)
			json_array_append_new(all, json_pack(
			    "{s:s,s:s,s:s?,s:s,s:s,s:n}", "name", c->name,
			    "repository", c->repository, "file", c->file,
			    "licence", c->licence, "note", c->note, "sha256"));
		else
			printf("%-26s %-42s %-19s %s\n", c->name,
			    c->repository, c->licence, c->note);
	if (json) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
	} else
		puts("\nNothing is pinned here: sizes and sums come from the "
		    "hub's index when a\nmodel is pulled. The licence is the "
		    "publisher's; read it there.");
	json_decref(all);
	return PKG_OK;
}

static int
list(struct listing *l, struct err *e)
{
	char **names;
	size_t n;
	int rc = store_names(&l->store, &names, &n, e);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		if (store_check_name(names[i], NULL) == 0)
			add_model(l, names[i]);
		else if (ends_in(names[i], ".part.json"))
			add_unfinished(l, names[i]);
	store_free_names(names, n);
	return 0;
}

int
pkg_list(int argc, char *argv[])
{
	static struct listing l = { .store.fd = -1 };	/* large for a stack */
	const char *dir = NULL;
	bool of_catalogue = false;
	struct err e;
	int rc;
	const struct pkg_option options[] = {
		{ "--dir", &dir, NULL }, { "--json", NULL, &l.json },
		{ "--verify", NULL, &l.verify },
		{ "--catalogue", NULL, &of_catalogue }, { 0 },
	};

	if (pkg_options(argc, argv, options, NULL, 0, &e) != 0)
		return pkg_fail(&e);
	if (of_catalogue)
		return print_catalogue(l.json);
	l.all = json_array();
	rc = store_open(&l.store, dir, false, &e);
	if (rc == 0)
		rc = list(&l, &e);
	else if (rc == ERR_NOT_FOUND && dir == NULL)
		rc = 0;		/* nothing was pulled yet */
	if (rc == 0 && l.json) {
		json_dumpf(l.all, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (rc == 0)
		print_table(&l);
	json_decref(l.all);
	if (l.store.fd >= 0)
		store_close(&l.store);
	if (rc != 0)
		return pkg_fail(&e);
	return l.n_bad > 0 ? PKG_BAD : PKG_OK;
}

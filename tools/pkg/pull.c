#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue.h"
#include "download.h"
#include "hub.h"
#include "pkg.h"
#include "pull_run.h"
#include "sha256.h"

#define HUB_URL "https://huggingface.co"

struct request {
	const char *what, *dir, *name, *sha256, *licence, *file, *hub;
	const char *stall, *retries;
	bool force, quiet, convert;
};

static int
number(const char *option, const char *text, long min, long max, int *out,
    struct err *e)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || v < min || v > max)
		return err_set(e, ERR_RANGE, "%s is '%.30s', not in %ld..%ld",
		    option, text, min, max);
	*out = (int)v;
	return 0;
}

/* The file that a URL names, decoded; what it may hold is for the caller. */
static int
name_of_url(const char *url, char out[STORE_NAME_MAX + 1], struct err *e)
{
	CURLU *u = curl_url();
	char *path = NULL;
	bool good = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) ==
	    CURLUE_OK && curl_url_get(u, CURLUPART_PATH, &path,
	    CURLU_URLDECODE) == CURLUE_OK &&
	    store_clean_name(strrchr(path, '/') + 1, out);

	curl_free(path);
	curl_url_cleanup(u);
	return good ? 0 : err_set(e, ERR_RANGE, "'%.130s' ends in no name for "
	    "a file: give --name", url);
}

static int
plan_url(const struct request *r, struct pull *p, struct err *e)
{
	struct manifest_file *f;
	uint8_t sum[SHA256_SIZE];
	int rc;

	if ((rc = download_check_url(r->what, e)) != 0 ||
	    (rc = manifest_init(&p->m, 1, e)) != 0)
		return rc;
	f = &p->m.files[0];
	if (r->sha256 != NULL && !sha256_from_hex(r->sha256, sum))
		return err_set(e, ERR_RANGE, "--sha256 is not 64 hex digits");
	snprintf(p->m.source, sizeof(p->m.source), "%s", r->what);
	snprintf(f->url, sizeof(f->url), "%s", r->what);
	snprintf(f->expected, sizeof(f->expected), "%s", r->sha256 != NULL ?
	    r->sha256 : "");
	return r->name != NULL ? 0 : name_of_url(r->what, p->m.name, e);
}

/* text: "owner/name@revision"; c: its entry in the catalogue, or NULL. */
static int
plan_hub(const struct request *r, const char *text,
    const struct catalogue_entry *c, struct pull *p, struct err *e)
{
	char repository[STORE_NAME_MAX + 1], revision[STORE_NAME_MAX + 1];
	struct hub_request h = { r->hub, repository, revision,
	    r->file != NULL || c == NULL ? r->file : c->file, p->stall_s };
	const char *name;
	int rc;

	if (r->sha256 != NULL)
		return err_set(e, ERR_RANGE, "--sha256 is for a URL: of these "
		    "the hub's index has the sums");
	if ((rc = hub_parse(text, repository, revision, e)) != 0 ||
	    (rc = download_check_url(r->hub, e)) != 0 ||
	    (rc = hub_list(&h, &p->m, e)) != 0)
		return rc;
	snprintf(p->m.source, sizeof(p->m.source), "HF:%s@%s%s%s", repository,
	    revision, h.file != NULL ? ":" : "", h.file != NULL ? h.file : "");
	if (p->m.licence[0] == '\0' && c != NULL)
		snprintf(p->m.licence, sizeof(p->m.licence), "%s", c->licence);
	name = c != NULL ? c->name : p->m.directory ?
	    strchr(repository, '/') + 1 : p->m.files[0].path;
	if (r->name == NULL && !store_clean_name(name, p->m.name))
		return err_set(e, ERR_RANGE, "'%.100s' is no name for a model: "
		    "give --name", name);
	return 0;
}

static int
plan(const struct request *r, struct pull *p, struct err *e)
{
	const struct catalogue_entry *c = catalogue_find(r->what);
	int rc;

	if (c != NULL)
		rc = plan_hub(r, c->repository, c, p, e);
	else if (strncmp(r->what, "HF:", 3) == 0)
		rc = plan_hub(r, r->what + 3, NULL, p, e);
	else if (strstr(r->what, "://") != NULL)
		rc = plan_url(r, p, e);
	else
		rc = err_set(e, ERR_NOT_FOUND, "'%.100s' is neither in the "
		    "catalogue (1bit-halo-pkg list --catalogue) nor HF:OWNER/"
		    "NAME nor a URL", r->what);
	if (rc == 0 && r->name != NULL &&
	    (rc = store_check_name(r->name, e)) == 0)
		snprintf(p->m.name, sizeof(p->m.name), "%s", r->name);
	if (rc == 0 && r->licence != NULL)
		snprintf(p->m.licence, sizeof(p->m.licence), "%s", r->licence);
	/* A single file is called as the model is. */
	if (rc == 0 && !p->m.directory)
		memcpy(p->m.files[0].path, p->m.name, sizeof(p->m.name));
	return rc;
}

/* NAME in the directory, on the heap. */
static char *
path_of(const struct pull *p, const char *name)
{
	char *out;

	return asprintf(&out, "%s/%s", p->store.path, name) < 0 ? NULL : out;
}

/* The .h1b beside the model: made by the command `convert`, with a manifest of
 * its own. */
static int
convert(const struct request *r, const struct pull *p, const char *path)
{
	struct manifest m = { 0 };
	char base[STORE_NAME_MAX + 1], file[STORE_PATH_MAX], *out = NULL;
	char *argv[] = { (char *)(uintptr_t)path, NULL,
	    (char *)(uintptr_t)"--source", (char *)(uintptr_t)p->m.source,
	    (char *)(uintptr_t)"--force" };
	char *dot;
	struct err e;
	int status;

	snprintf(base, sizeof(base), "%.*s", STORE_NAME_MAX - 4, p->m.name);
	if ((dot = strrchr(base, '.')) != NULL && strcmp(dot, ".gguf") == 0)
		*dot = '\0';
	/* An old .h1b must not become itself. */
	else if (dot != NULL && strcmp(dot, ".h1b") == 0)
		memcpy(dot, ".v6", 4);
	strcat(base, ".h1b");
	if ((out = path_of(p, base)) == NULL || manifest_init(&m, 1, &e) != 0) {
		free(out);
		err_set(&e, ERR_NO_MEMORY, "no memory for a path");
		return pkg_fail(&e);
	}
	argv[1] = out;
	if ((status = pkg_convert(r->force ? 5 : 4, argv)) != PKG_OK)
		goto out;
	memcpy(m.name, base, sizeof(m.name));
	memcpy(m.files[0].path, base, sizeof(m.name));
	memcpy(m.source, p->m.source, sizeof(m.source));
	memcpy(m.revision, p->m.revision, sizeof(m.revision));
	memcpy(m.licence, p->m.licence, sizeof(m.licence));
	manifest_now(m.pulled);
	memcpy(m.verified, m.pulled, sizeof(m.verified));
	store_beside(base, ".manifest.json", file);
	status = store_sum(&p->store, base, m.files[0].sha256,
	    &m.files[0].size, &e) != 0 || manifest_save(&p->store, file, &m,
	    &e) != 0 ? pkg_fail(&e) : PKG_OK;
	if (status == PKG_OK && !r->quiet)
		printf("converted: %s\n", out);
out:
	manifest_finish(&m);
	free(out);
	return status;
}

static void
report(const struct pull *p, enum pull_result result)
{
	const struct manifest *m = &p->m;
	char size[32];

	pkg_size((double)manifest_size(m), size);
	printf("%s: %s%s, %zu file%s, licence: %s\n", m->name,
	    result == PULL_DONE ? "" : "is there already, ", size, m->n_files,
	    m->n_files == 1 ? "" : "s",
	    m->licence[0] != '\0' ? m->licence : "not stated");
	for (size_t i = 0; i < m->n_files; i++)
		printf("%s  %s  (%s)\n", m->files[i].sha256, m->files[i].path,
		    m->files[i].expected[0] != '\0' ? "as expected" :
		    "not pinned: nobody said what it should be");
	printf("run: bitnet_decode --model %s/%s\n", p->store.path, m->name);
}

static int
deliver(const struct request *r, const struct pull *p, enum pull_result result,
    struct err *e)
{
	char *path = path_of(p, p->m.name);
	int status = PKG_OK;

	if (path == NULL) {
		err_set(e, ERR_NO_MEMORY, "no memory for a path");
		return pkg_fail(e);
	}
	if (store_format(&p->store, p->m.name) == NULL) {
		fprintf(stderr, "1bit-halo-pkg: %s is neither a .h1b, nor GGUF, "
		    "nor a checkpoint: no model that is known here\n", path);
		status = PKG_BAD;
	} else if (r->quiet)
		printf("%s\n", path);
	else
		report(p, result);
	fflush(stdout);
	if (status == PKG_OK && r->convert)
		status = convert(r, p, path);
	free(path);
	return status;
}

static int
run(const struct request *r, struct pull *p, struct err *e)
{
	enum pull_result result;
	int64_t kept;
	char size[32];
	int rc;

	if ((rc = plan(r, p, e)) != 0 ||
	    (rc = store_open(&p->store, r->dir, true, e)) != 0)
		return pkg_fail(e);
	rc = pull_run(p, &result, &kept, e);
	if (rc == 0)
		return deliver(r, p, result, e);
	pkg_fail(e);
	pkg_size((double)kept, size);
	if (kept > 0 && rc != ERR_EXISTS && rc != ERR_BUSY)
		fprintf(stderr, "1bit-halo-pkg: %s are kept in %s/%s%s\n", size,
		    p->store.path, p->part, rc == ERR_BAD_FILE ?
		    " in case the sum was mistyped; if it is wrong again, they "
		    "go" : "; the same command goes on from there");
	return rc == ERR_BAD_FILE ? PKG_BAD : PKG_UNUSABLE;
}

/* The hub, without what stands between it and a path. */
static const char *
hub_of(const char *given)
{
	static char hub[MANIFEST_URL_MAX + 1];
	size_t n;

	if (given == NULL && (given = getenv("HALO_HUB_URL")) == NULL)
		given = HUB_URL;
	snprintf(hub, sizeof(hub), "%s", given);
	for (n = strlen(hub); n > 0 && hub[n - 1] == '/'; n--)
		hub[n - 1] = '\0';
	return hub;
}

int
pkg_pull(int argc, char *argv[])
{
	struct request r = { .stall = "30", .retries = "5" };
	static struct pull p = { .store.fd = -1 };	/* large for a stack */
	struct err e;
	int status;
	const struct pkg_option options[] = {
		{ "--dir", &r.dir, NULL }, { "--name", &r.name, NULL },
		{ "--sha256", &r.sha256, NULL }, { "--file", &r.file, NULL },
		{ "--licence", &r.licence, NULL }, { "--hub-url", &r.hub, NULL },
		{ "--stall-seconds", &r.stall, NULL },
		{ "--retries", &r.retries, NULL },
		{ "--force", NULL, &r.force }, { "--quiet", NULL, &r.quiet },
		{ "--convert", NULL, &r.convert }, { 0 },
	};

	if (pkg_options(argc, argv, options, &r.what, 1, &e) != 0 ||
	    number("--stall-seconds", r.stall, 1, 3600, &p.stall_s, &e) != 0 ||
	    number("--retries", r.retries, 0, 1000, &p.retries, &e) != 0)
		return pkg_fail(&e);
	r.hub = hub_of(r.hub);
	p.force = r.force;
	meter_init(&p.meter, r.quiet);
	/* A closed connection is an error that is reported, not the end. */
	signal(SIGPIPE, SIG_IGN);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		err_set(&e, ERR_SYSTEM, "libcurl cannot be started");
		return pkg_fail(&e);
	}
	status = run(&r, &p, &e);
	manifest_finish(&p.m);
	store_close(&p.store);
	curl_global_cleanup();
	return status;
}

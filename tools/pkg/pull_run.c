#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "download.h"
#include "pull_run.h"

enum { WAIT_MAX_S = 30 };

static int
fail(const struct pull *p, const char *name, struct err *e)
{
	return err_set(e, ERR_SYSTEM, "%.110s/%.80s: %s", p->store.path, name,
	    strerror(errno));
}

static int
remember(void *arg, struct err *e)
{
	struct pull *p = arg;

	return manifest_save(&p->store, p->journal, &p->m, e);
}

static void
show(void *arg, int64_t at, int64_t total)
{
	struct pull *p = arg;

	meter_show(&p->meter, at, total);
}

static void
note(void *arg, const char *text)
{
	struct pull *p = arg;

	meter_note(&p->meter, text);
}

/* The name under which file i grows, in p->dir. */
static void
growing(const struct pull *p, size_t i, char out[STORE_PATH_MAX])
{
	store_beside(p->m.directory ? p->m.files[i].path : p->m.name, ".part",
	    out);
}

static int64_t
bytes_of(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode) ? st.st_size : -1;
}

static struct manifest_file *
find(const struct manifest *m, const char *path)
{
	for (size_t i = 0; i < m->n_files; i++)
		if (strcmp(m->files[i].path, path) == 0)
			return &m->files[i];
	return NULL;
}

/* The name of a finished file i; that of a single one stays as it grew. */
static void
finished(const struct pull *p, size_t i, char out[STORE_PATH_MAX])
{
	if (p->m.directory)
		store_beside(p->m.files[i].path, "", out);
	else
		growing(p, i, out);
}

/* File i, of which an earlier pull says old (or NULL): take over what is
 * there, or remove it. */
static void
adopt_file(struct pull *p, size_t i, const struct manifest_file *old)
{
	struct manifest_file *f = &p->m.files[i];
	char done[STORE_PATH_MAX], part[STORE_PATH_MAX];
	bool same = old != NULL && strcmp(old->url, f->url) == 0;

	finished(p, i, done);
	growing(p, i, part);
	if (old != NULL && old->sha256[0] != '\0' &&
	    bytes_of(p->dir, done) == old->size && (f->expected[0] != '\0' ?
	    strcasecmp(f->expected, old->sha256) == 0 : same)) {
		memcpy(f->sha256, old->sha256, sizeof(f->sha256));
		f->size = old->size;
	}
	if (same) {
		memcpy(f->validator, old->validator, sizeof(f->validator));
		if (f->size < 0)
			f->size = old->size;
	} else if (f->sha256[0] == '\0')
		unlinkat(p->dir, part, 0);
}

/* What an unfinished pull left, if it was of the same source. */
static int
adopt(struct pull *p, const struct manifest *old)
{
	char name[STORE_PATH_MAX];

	for (size_t i = 0; i < p->m.n_files; i++)
		adopt_file(p, i, find(old, p->m.files[i].path));
	for (size_t i = 0; p->m.directory && i < old->n_files; i++) {
		const char *path = old->files[i].path;

		if (find(&p->m, path) != NULL)
			continue;
		unlinkat(p->dir, path, 0);
		unlinkat(p->dir, store_beside(path, ".part", name), 0);
	}
	return 0;
}

static int
forget(struct pull *p, struct err *e)
{
	int rc = store_remove(&p->store, p->part, e);

	return rc != 0 ? rc : store_remove(&p->store, p->journal, e);
}

static int
open_dir(struct pull *p, struct err *e)
{
	if (!p->m.directory) {
		p->dir = p->store.fd;
		return 0;
	}
	if (mkdirat(p->store.fd, p->part, 0755) != 0 && errno != EEXIST)
		return fail(p, p->part, e);
	p->dir = openat(p->store.fd, p->part, O_RDONLY | O_DIRECTORY |
	    O_CLOEXEC | O_NOFOLLOW);
	return p->dir < 0 ? fail(p, p->part, e) : 0;
}

/* Open what an earlier pull left, or begin anew. */
static int
prepare(struct pull *p, struct err *e)
{
	struct manifest old = { 0 };
	int rc;

	rc = manifest_load(&p->store, p->journal, &old, e);
	if (rc == ERR_BAD_FILE)
		note(p, "the notes of an unfinished pull cannot be read: from "
		    "the beginning");
	if (rc == 0 && strcmp(old.source, p->m.source) != 0)
		rc = p->force ? ERR_NOT_FOUND : err_set(e, ERR_EXISTS, "%.60s "
		    "is half pulled from %.120s: go on there, or --force",
		    p->m.name, old.source);
	else if (rc == 0 && old.directory != p->m.directory)
		rc = ERR_BAD_FILE;
	if (rc == ERR_NOT_FOUND || rc == ERR_BAD_FILE) {
		manifest_finish(&old);
		rc = forget(p, e);
	}
	if (rc == 0 && (rc = open_dir(p, e)) == 0 && old.n_files > 0)
		rc = adopt(p, &old);
	manifest_finish(&old);
	return rc;
}

/*
 * A file, tried again as long as each attempt brings something, and `retries`
 * times when it does not.
 */
static int
fetch(struct pull *p, size_t i, struct err *e)
{
	char part[STORE_PATH_MAX], text[400];
	struct download d = { p->dir, part, &p->m.files[i], p->stall_s,
	    remember, show, note, p };
	int64_t best;
	int rc, n = 0;

	growing(p, i, part);
	best = bytes_of(p->dir, part);
	best = best > 0 ? best : 0;	/* to make the file is no progress */
	meter_begin(&p->meter, p->m.files[i].path, (int)i + 1,
	    (int)p->m.n_files);
	while ((rc = download_run(&d, e)) != 0) {
		int64_t now = bytes_of(p->dir, part);
		int wait_s;

		if ((rc != ERR_UNAVAILABLE && rc != ERR_TIMEOUT) ||
		    p->retries == 0)
			break;
		n = now > best ? 0 : n + 1;
		best = now > best ? now : best;
		if (n > p->retries)
			break;
		wait_s = n < 5 ? 1 << n : WAIT_MAX_S;
		snprintf(text, sizeof(text), "%s; again in %d s", e->text,
		    wait_s);
		note(p, text);
		sleep((unsigned)wait_s);
	}
	meter_end(&p->meter);
	return rc;
}

static int
fetch_all(struct pull *p, struct err *e)
{
	char part[STORE_PATH_MAX];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < p->m.n_files; i++) {
		if (p->m.files[i].sha256[0] != '\0')
			continue;
		if ((rc = fetch(p, i, e)) != 0)
			return rc;
		growing(p, i, part);
		if (p->m.directory && renameat(p->dir, part, p->dir,
		    p->m.files[i].path) != 0)
			return fail(p, part, e);
		rc = remember(p, e);
	}
	return rc;
}

/* NAME.part becomes NAME; the manifest is there before, so that it never is
 * without one. */
static int
publish(struct pull *p, struct err *e)
{
	char file[STORE_PATH_MAX];
	int fd = p->store.fd, rc;

	manifest_now(p->m.pulled);
	memcpy(p->m.verified, p->m.pulled, sizeof(p->m.verified));
	store_beside(p->m.name, ".manifest.json", file);
	if ((rc = manifest_save(&p->store, file, &p->m, e)) != 0)
		return rc;
	if (p->m.directory)
		fsync(p->dir);
	if (!store_exists(&p->store, p->m.name)) {
		if (renameat(fd, p->part, fd, p->m.name) != 0)
			return fail(p, p->m.name, e);
	/* After the exchange the notes would be about the old model. */
	} else if ((rc = store_remove(&p->store, p->journal, e)) != 0) {
		return rc;
	} else if (renameat2(fd, p->part, fd, p->m.name,
	    RENAME_EXCHANGE) != 0) {
		/* This file system cannot: there is a moment without NAME. */
		if ((rc = store_remove(&p->store, p->m.name, e)) != 0)
			return rc;
		if (renameat(fd, p->part, fd, p->m.name) != 0)
			return fail(p, p->m.name, e);
	}
	fsync(fd);
	return forget(p, e);
}

/* Is NAME there?  0: no, or it may be replaced. */
static int
look(struct pull *p, enum pull_result *result, struct err *e)
{
	char file[STORE_PATH_MAX];
	struct manifest old;

	if (p->force || !store_exists(&p->store, p->m.name))
		return 0;
	store_beside(p->m.name, ".manifest.json", file);
	if (manifest_load(&p->store, file, &old, NULL) == 0) {
		const struct manifest_file *f = &p->m.files[0];
		bool same = strcmp(old.source, p->m.source) == 0 &&
		    (p->m.directory || f->expected[0] == '\0' ||
		    strcasecmp(f->expected, old.files[0].sha256) == 0);

		if (same) {
			manifest_finish(&p->m);
			p->m = old;
			*result = PULL_THERE_ALREADY;
			return 0;
		}
		manifest_finish(&old);
	}
	return err_set(e, ERR_EXISTS, "%.120s/%.80s exists already: --force "
	    "replaces it", p->store.path, p->m.name);
}

int
pull_run(struct pull *p, enum pull_result *result, int64_t *kept,
    struct err *e)
{
	int lock, rc;

	p->dir = -1;
	*kept = 0;
	*result = PULL_DONE;
	store_beside(p->m.name, ".part", p->part);
	store_beside(p->m.name, ".part.json", p->journal);
	if ((rc = store_lock(&p->store, p->m.name, &lock, e)) != 0)
		return rc;
	rc = look(p, result, e);
	/* Cut between the last two steps of publish. */
	if (*result == PULL_THERE_ALREADY && !store_exists(&p->store, p->part))
		store_remove(&p->store, p->journal, NULL);
	if (rc == 0 && *result == PULL_DONE &&
	    (rc = prepare(p, e)) == 0 && (rc = fetch_all(p, e)) == 0)
		rc = publish(p, e);
	if (rc != 0)
		*kept = store_size(&p->store, p->part);
	/* An attempt that brought nothing leaves nothing. */
	if (rc != 0 && rc != ERR_EXISTS && *kept == 0)
		forget(p, NULL);
	if (p->dir >= 0 && p->dir != p->store.fd)
		close(p->dir);
	store_unlock(&p->store, p->m.name, lock);
	return rc;
}

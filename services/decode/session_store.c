/*
 * Sizes and ages of files are read from the directory when they are needed, so
 * what somebody deletes there is as if it had never been.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "engine_session.h"
#include "session_dir.h"
#include "session_store.h"

enum {
	QUEUE_MAX = 256,	/* sessions that wait to be saved */
	NICE = 10,		/* of the thread that saves */
	KEYS_MAX = 4096,	/* saved at the end */
};

struct session_store {
	struct session_store_config c;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	int n_ops;
	char queue[QUEUE_MAX][DECODE_SESSION_LEN + 1];	/* [n_queue] oldest first */
	int n_queue;
	struct session_store_stats stats;
};

/* May one more save or restore go on? */
static int
begin_op(struct session_store *st, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&st->lock);
	if (st->n_ops < SESSION_STORE_OPS)
		st->n_ops++;
	else
		r = err_set(e, ERR_BUSY, "%d sessions are being saved or "
		    "restored", st->n_ops);
	pthread_mutex_unlock(&st->lock);
	if (r != 0 && e != NULL)
		e->retry_after_ms = 1000;
	return r;
}

static void
count(struct session_store *st, int64_t *counter, int64_t n)
{
	pthread_mutex_lock(&st->lock);
	*counter += n;
	pthread_mutex_unlock(&st->lock);
}

/* Of all files. */
static void
note_bytes(struct session_store *st, int64_t bytes)
{
	pthread_mutex_lock(&st->lock);
	st->stats.bytes = bytes;
	pthread_mutex_unlock(&st->lock);
}

static void
end_op(struct session_store *st)
{
	pthread_mutex_lock(&st->lock);
	st->n_ops--;
	pthread_mutex_unlock(&st->lock);
}

/* Delete what was not used for long, until a file of n bytes for key fits. */
static int
make_room(struct session_store *st, const char *key, int64_t n, struct err *e)
{
	char path[SESSION_PATH];
	struct session_file *files;
	int64_t total = n;
	size_t n_files;
	int r;

	if ((r = session_dir_list(st->c.dir, &files, &n_files, e)) != 0)
		return r;
	for (size_t i = 0; i < n_files; i++)
		if (strcmp(files[i].key, key) != 0)
			total += files[i].bytes;
	for (size_t i = 0; i < n_files && total > st->c.max_bytes &&
	    n <= st->c.max_bytes; i++) {
		if (strcmp(files[i].key, key) == 0 ||
		    engine_session_is_pinned(st->c.engine, files[i].key))
			continue;
		session_dir_path(st->c.dir, files[i].key, path);
		unlink(path);
		engine_session_unsaved(st->c.engine, files[i].key);
		count(st, &st->stats.deleted, 1);
		total -= files[i].bytes;
	}
	free(files);
	note_bytes(st, total);
	if (total <= st->c.max_bytes)
		return 0;
	return err_set(e, ERR_STORAGE, "a snapshot of %lld MiB finds no room: "
	    "snapshots may have %lld MiB in all (--session-dir-max)",
	    (long long)(n >> 20), (long long)(st->c.max_bytes >> 20));
}

static int
save(struct session_store *st, const char *key, struct err *e)
{
	char path[SESSION_PATH];
	struct session_copy c;
	int64_t n, wrote = -1;
	int r;

	if ((r = engine_session_copy(st->c.engine, key, &c, e)) != 0)
		return r;
	n = (int64_t)snapshot_size(&c, &st->c.id);
	session_dir_path(st->c.dir, key, path);
	if ((r = make_room(st, key, n, e)) == 0)
		r = snapshot_write(path, &st->c.id, &c, st->c.backend, &wrote,
		    e);
	if (r != 0)
		wrote = -1;
	if (!engine_session_copied(st->c.engine, &c, wrote) && r == 0)
		unlink(path);	/* it was dropped */
	count(st, r == 0 ? &st->stats.written : &st->stats.failed, 1);
	count(st, &st->stats.bytes_written, r == 0 ? n : 0);
	return r;
}

int
session_store_save(struct session_store *st, const char *key, struct err *e)
{
	int r = begin_op(st, e);

	if (r != 0)
		return r;
	r = save(st, key, e);
	end_op(st);
	return r;
}

/* The pages of *s that are not in memory to those of *c. */
static int
read_pages(struct session_store *st, struct snapshot *s,
    struct session_copy *c, struct err *e)
{
	void *page = malloc(st->c.id.page_bytes);
	int r = 0;

	if (page == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a snapshot");
	for (int32_t i = c->kv.n_shared; i < c->kv.n_pages && r == 0; i++)
		if ((r = snapshot_page(s, &st->c.id, (uint64_t)i, page,
		    e)) == 0)
			r = st->c.backend->write_page(st->c.backend,
			    c->kv.pages[i], page, e);
	free(page);
	return r;
}

static int
restore(struct session_store *st, const char *key, const char *path,
    struct err *e)
{
	struct session_copy c;
	struct snapshot s;
	int64_t bytes;
	int r;

	if ((r = snapshot_open(path, &st->c.id, &s, &c, e)) != 0)
		return r;
	bytes = (int64_t)s.head.n_file;
	if (strcmp(c.key, key) != 0)
		r = err_set(e, ERR_BAD_FILE, "%.140s: it is of another session",
		    path);
	if (r == 0 && (r = engine_session_room(st->c.engine, &c, e)) == 0)
		r = read_pages(st, &s, &c, e);
	snapshot_close(&s);
	/* If a later turn is known, these are pages of its beginning. */
	engine_session_put(st->c.engine, &c, bytes, r == 0);
	if (r == 0)
		count(st, &st->stats.bytes_restored, bytes);
	return r;
}

int
session_store_restore(struct session_store *st, const char *key,
    struct err *e)
{
	char path[SESSION_PATH];
	struct err why;
	int r;

	session_dir_path(st->c.dir, key, path);
	if (access(path, F_OK) != 0)
		return err_set(e, ERR_NOT_FOUND, "this session has no snapshot");
	if ((r = begin_op(st, e)) != 0)
		return r;
	r = restore(st, key, path, &why);
	end_op(st);
	if (r == 0)
		session_dir_touch(path);
	if (r == ERR_BAD_FILE) {
		unlink(path);
		engine_session_unsaved(st->c.engine, key);
	}
	if (r == 0)
		count(st, &st->stats.restored, 1);
	else if (r == ERR_BAD_FILE || r == ERR_UNSUPPORTED)
		count(st, &st->stats.refused, 1);
	if (r != 0)
		err_set(e, r, "%s", why.text);
	return r;
}

void
session_store_drop(struct session_store *st, const char *key)
{
	char path[SESSION_PATH];

	session_dir_path(st->c.dir, key, path);
	unlink(path);
}

void
session_store_turn(struct session_store *st, const char *key)
{
	int i = 0;

	pthread_mutex_lock(&st->lock);
	while (i < st->n_queue && strcmp(st->queue[i], key) != 0)
		i++;
	if (i == st->n_queue && i < QUEUE_MAX) {
		memcpy(st->queue[i], key, strlen(key) + 1);
		st->n_queue++;
		pthread_cond_signal(&st->wake);
	}
	pthread_mutex_unlock(&st->lock);
}

/* The next of the queue; false at the end of the store. */
static bool
next(struct session_store *st, char key[DECODE_SESSION_LEN + 1])
{
	bool any;

	pthread_mutex_lock(&st->lock);
	while (st->n_queue == 0 && !st->stop)
		pthread_cond_wait(&st->wake, &st->lock);
	any = !st->stop;
	if (any) {
		memcpy(key, st->queue[0], sizeof(st->queue[0]));
		memmove(st->queue, st->queue + 1,
		    (size_t)--st->n_queue * sizeof(st->queue[0]));
	}
	pthread_mutex_unlock(&st->lock);
	return any;
}

static void *
run(void *arg)
{
	struct session_store *st = arg;
	char key[DECODE_SESSION_LEN + 1];
	struct err e;

	/* Of this thread alone, on Linux. */
	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	while (next(st, key)) {
		int r = save(st, key, &e);

		if (r != 0 && r != ERR_NOT_FOUND && r != ERR_SESSION)
			st->c.on_error(st->c.arg, key, &e);
	}
	return NULL;
}

/* Sessions that are on disk are known, the last used ones first. */
static int
know_all(struct session_store *st, struct err *e)
{
	char path[SESSION_PATH];
	struct session_file *files;
	size_t n;
	int r;

	if ((r = session_dir_list(st->c.dir, &files, &n, e)) != 0)
		return r;
	while (n-- > 0) {
		struct session_copy c;
		struct snapshot s;
		struct err why;

		st->stats.bytes += files[n].bytes;
		session_dir_path(st->c.dir, files[n].key, path);
		if (snapshot_open(path, &st->c.id, &s, &c, &why) != 0)
			continue;	/* said when it is asked for */
		if (strcmp(c.key, files[n].key) == 0)
			engine_session_know(st->c.engine, &c, files[n].bytes);
		snapshot_close(&s);
		transcript_free(c.said);
	}
	free(files);
	return 0;
}

int
session_store_open(const struct session_store_config *c,
    struct session_store **out, struct err *e)
{
	struct session_store *st = calloc(1, sizeof(*st));
	int r;

	if (st == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for snapshots");
	st->c = *c;
	pthread_mutex_init(&st->lock, NULL);
	pthread_cond_init(&st->wake, NULL);
	if ((r = session_dir_open(c->dir, e)) == 0 &&
	    (r = know_all(st, e)) == 0 &&
	    pthread_create(&st->thread, NULL, run, st) != 0)
		r = err_set(e, ERR_SYSTEM, "cannot start the thread that saves");
	if (r != 0) {
		free(st);
		return r;
	}
	*out = st;
	return 0;
}

void
session_store_stats(struct session_store *st, struct session_store_stats *s)
{
	pthread_mutex_lock(&st->lock);
	*s = st->stats;
	pthread_mutex_unlock(&st->lock);
}

/* What is worth it, the pinned ones first. */
static int
save_all(struct session_store *st, int64_t budget_ms, void (*alive)(void))
{
	char (*keys)[DECODE_SESSION_LEN + 1] = calloc(KEYS_MAX, sizeof(*keys));
	int64_t until = clock_ms() + budget_ms;
	int n, n_pinned, n_failed = 0;
	struct err e;

	if (keys == NULL)
		return 0;
	n = engine_session_unsaved_keys(st->c.engine, keys, KEYS_MAX, &n_pinned);
	for (int i = 0; i < n && (i < n_pinned || clock_ms() < until); i++) {
		int r = save(st, keys[i], &e);

		alive();
		if (r != 0 && r != ERR_NOT_FOUND)
			st->c.on_error(st->c.arg, keys[i], &e);
		n_failed += r != 0 && i < n_pinned;
		if (r == ERR_STORAGE && i >= n_pinned)
			break;
	}
	free(keys);
	return n_failed;
}

int
session_store_stop(struct session_store *st, int64_t budget_ms,
    void (*alive)(void))
{
	pthread_mutex_lock(&st->lock);
	st->stop = true;
	pthread_cond_signal(&st->wake);
	pthread_mutex_unlock(&st->lock);
	pthread_join(st->thread, NULL);
	return save_all(st, budget_ms, alive);
}

void
session_store_close(struct session_store *st)
{
	if (st == NULL)
		return;
	pthread_mutex_destroy(&st->lock);
	pthread_cond_destroy(&st->wake);
	free(st);
}

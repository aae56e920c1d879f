/*
 * The store of snapshots as the options have it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "notify.h"
#include "sha256.h"
#include "store_start.h"

static void
on_error(void *arg, const char *key, const struct err *e)
{
	(void)arg;
	log_warn("session %.12s… is not saved, ignoring: %s", key, e->text);
}

void
store_turn(void *arg, const char *key)
{
	const struct service *sv = arg;

	if (sv->store != NULL)
		session_store_turn(sv->store, key);
}

/* Where; NULL with why in the log if nowhere. */
static const char *
directory(const struct service *sv, char path[SESSION_DIR_MAX])
{
	const char *state = getenv("STATE_DIRECTORY");
	const char *dir = sv->options.session_dir;

	if (sv->options.sessions == 0 || !sv->options.prefix_cache) {
		if (dir[0] != '\0')
			log_warn("--session-dir: sessions are off (--sessions, "
			    "--prefix-cache), ignoring");
		return NULL;
	}
	if (sv->backend.read_page == NULL) {
		log_info("sessions are not saved: the backend '%s' cannot",
		    sv->backend.name);
		return NULL;
	}
	if (dir[0] == '\0' && (state == NULL || state[0] != '/')) {
		log_info("sessions are not saved: there is neither --session-dir "
		    "nor $STATE_DIRECTORY");
		return NULL;
	}
	/* Of several, separated by colons, the first. */
	if (dir[0] != '\0')
		snprintf(path, SESSION_DIR_MAX, "%s", dir);
	else
		snprintf(path, SESSION_DIR_MAX, "%.*s/sessions",
		    (int)strcspn(state, ":"), state);
	return path;
}

void
store_start(struct service *sv)
{
	struct session_store_config c = {
		.max_bytes = sv->options.session_dir_max << 20,
		.engine = sv->engine, .backend = &sv->backend,
		.on_error = on_error, .arg = sv,
	};
	static char path[SESSION_DIR_MAX];
	struct session_store_stats st;
	struct err e;

	if ((c.dir = directory(sv, path)) == NULL)
		return;
	c.id = (struct snapshot_identity){
		.page_bytes = sv->backend.page_bytes, .n_ctx = sv->n_ctx,
		.n_vocab = sv->model.config.vocab,
	};
	snprintf(c.id.model, sizeof(c.id.model), "%s", sv->model.fingerprint);
	memcpy(c.id.kv_format, sv->backend.kv_format, sizeof(c.id.kv_format));
	sha256(sv->model.tokenizer, sv->model.n_tokenizer, c.id.tokenizer);
	/* A limit on the size of files is an error of write then. */
	signal(SIGXFSZ, SIG_IGN);
	if (session_store_open(&c, &sv->store, &e) != 0) {
		log_warn("sessions are not saved: %s", e.text);
		return;
	}
	session_store_stats(sv->store, &st);
	log_info("sessions are saved in %s: %lld MiB of %lld are used", path,
	    (long long)(st.bytes >> 20),
	    (long long)sv->options.session_dir_max);
}

void
store_stop(struct service *sv)
{
	struct session_store_stats before, after;
	int n_failed;

	if (sv->store == NULL)
		return;
	session_store_stats(sv->store, &before);
	n_failed = session_store_stop(sv->store, sv->options.session_save_ms,
	    notify_alive);
	session_store_stats(sv->store, &after);
	if (after.written > before.written || n_failed > 0)
		log_info("saved %lld sessions, %lld MiB; %d pinned ones could "
		    "not be", (long long)(after.written - before.written),
		    (long long)((after.bytes_written - before.bytes_written) >>
		    20), n_failed);
}

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pull_peer.h"

char pull_dir[64], pull_store[128], pull_text[16384];
int pull_port;

int
pull_run(const char *const args[])
{
	const char *argv[PROCESS_ARGS_MAX] = { PULL_PKG };
	size_t n = 1;

	for (; *args != NULL; args++)
		argv[n++] = *args;
	argv[n++] = "--dir";
	argv[n++] = pull_store;
	return process_run(pull_dir, argv, pull_text, sizeof(pull_text));
}

const char *
pull_url(const char *path)
{
	static char out[8][512];
	static int k;

	k = (k + 1) % 8;
	snprintf(out[k], sizeof(out[k]), "http://127.0.0.1:%d%s", pull_port,
	    path);
	return out[k];
}

void
pull_says(const char *wanted)
{
	ck_assert_msg(strstr(pull_text, wanted) != NULL, "'%s' is not in:\n%s",
	    wanted, pull_text);
}

char *
pull_path(const char *name)
{
	static char out[4][256];
	static int k;

	k = (k + 1) % 4;
	snprintf(out[k], sizeof(out[k]), "%s/%s", pull_store, name);
	return out[k];
}

long
pull_size(const char *name)
{
	struct stat st;

	return stat(pull_path(name), &st) == 0 ? (long)st.st_size : -1;
}

bool
pull_there(const char *name)
{
	return access(pull_path(name), F_OK) == 0;
}

json_t *
pull_manifest(const char *name)
{
	char file[256];
	json_t *o;

	snprintf(file, sizeof(file), "%s/%s.manifest.json", pull_store, name);
	o = json_load_file(file, 0, NULL);
	ck_assert_ptr_nonnull(o);
	return o;
}

static void
setup_server(void)
{
	file_server_start(&pull_port);
}

static void
setup(void)
{
	process_make_dir(pull_dir);
	snprintf(pull_store, sizeof(pull_store), "%s/a/store", pull_dir);
}

static void
teardown(void)
{
	process_remove_dir(pull_dir);
}

int
pull_main(const char *name, void (*fill)(TCase *t))
{
	Suite *s = suite_create(name);
	TCase *t = tcase_create(name);
	SRunner *r = srunner_create(s);
	int n;

	/* The server is a thread of this process. */
	srunner_set_fork_status(r, CK_NOFORK);
	setenv("no_proxy", "*", 1);
	tcase_set_timeout(t, 120);
	tcase_add_unchecked_fixture(t, setup_server, NULL);
	tcase_add_checked_fixture(t, setup, teardown);
	fill(t);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	n = srunner_ntests_failed(r);
	srunner_free(r);
	return n == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * Where a model is written to, on file systems that lack what those of Linux have:
 * files without a name, a rename that does not replace, links.  The calls of the code
 * under test come here first.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "model/h1b.h"
#include "model/import.h"
#include "model_file.h"

/* As old overlays have it; as NFS; as FAT by way of FUSE. */
static const struct lacks {
	bool nameless, noreplace, links;
} lacks[] = {
	{ false, false, false },
	{ true, false, false },
	{ true, true, false },
	{ true, true, true },
};
static struct lacks now;
static char out_path[64];

int
open(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	if (now.nameless && (flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int
renameat2(int from_dir, const char *from, int to_dir, const char *to,
    unsigned flags)
{
	if (now.noreplace && flags != 0) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int
link(const char *from, const char *to)
{
	if (now.links) {
		errno = EPERM;
		return -1;
	}
	return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static void
setup(void)
{
	model_file_setup();
	snprintf(out_path, sizeof(out_path), "%s/out.h1b", model_dir);
}

static void
teardown(void)
{
	now = lacks[0];
	unlink(out_path);
	model_file_teardown();
}

static int
count_files(void)
{
	DIR *d = opendir(model_dir);
	int n = -2;		/* . and .. */

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* The model of the fixture once more, to out_path. */
static int
convert(bool force, void (*progress)(void *, uint64_t, uint64_t),
    struct err *e)
{
	struct h1b_source s;
	struct import *im;
	int rc;

	ck_assert_int_eq(import_open(model_path, &im, &s, e), 0);
	s.progress = progress;
	rc = h1b_write(out_path, &s, force, e);
	import_close(im);
	return rc;
}

START_TEST(a_model_gets_its_name_whatever_the_file_system_lacks)
{
	struct err e = { 0 };
	struct model m;

	now = lacks[_i];
	for (int force = 0; force < 2; force++) {
		ck_assert_msg(convert(force != 0, NULL, &e) == 0, "%s", e.text);
		ck_assert_int_eq(count_files(), 2);
		ck_assert_msg(model_open(out_path, false, &m, &e) == 0, "%s",
		    e.text);
		model_close(&m);
	}
}
END_TEST

/* Somebody else takes the name while rows are written. */
static void
take_name(void *arg, uint64_t done, uint64_t total)
{
	FILE *fp;

	(void)arg;
	if (done < total / 2 || access(out_path, F_OK) == 0)
		return;
	ck_assert_ptr_nonnull(fp = fopen(out_path, "w"));
	fputs("mine", fp);
	fclose(fp);
}

START_TEST(a_name_that_is_taken_meanwhile_stays)
{
	char text[8] = "";
	struct err e = { 0 };
	FILE *fp;

	now = lacks[_i];
	ck_assert_int_eq(convert(false, take_name, &e), ERR_EXISTS);
	ck_assert_ptr_nonnull(strstr(e.text, "out.h1b exists already"));
	ck_assert_ptr_nonnull(fp = fopen(out_path, "r"));
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), fp));
	fclose(fp);
	ck_assert_str_eq(text, "mine");
	ck_assert_int_eq(count_files(), 2);
}
END_TEST

int
main(void)
{
	const int n = sizeof(lacks) / sizeof(lacks[0]);
	Suite *suite = suite_create("model place");
	TCase *t = tcase_create("place");
	SRunner *r = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, a_model_gets_its_name_whatever_the_file_system_lacks, 0, n);
	tcase_add_loop_test(t, a_name_that_is_taken_meanwhile_stays, 0, n);
	suite_add_tcase(suite, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

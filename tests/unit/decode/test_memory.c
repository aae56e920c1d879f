/* Large pieces of memory, and a model that is read into one. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "model/model.h"
#include "slow.h"

static const char demo[] = "models/halo-demo.h1b";
static char path[64];

static void
setup(void)
{
	int fd;

	snprintf(path, sizeof(path), "/tmp/test_memory-" "XX" "XX" "XX");
	ck_assert_int_ge(fd = mkstemp(path), 0);
	close(fd);
}

static void
teardown(void)
{
	unlink(path);
}

static void
put(const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

START_TEST(memory_is_zero_and_aligned)
{
	static const size_t sizes[] = { 0, 1, 4096, 2 << 20, (5 << 20) + 1 };
	struct memory m;
	struct err e;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		ck_assert_int_eq(memory_take(sizes[i], i % 2 == 0, 1, "a test",
		    &m, &e), 0);
		ck_assert_int_eq(memory_populate(&m, "a test", &e), 0);
		ck_assert_uint_eq((uintptr_t)m.p % MEMORY_HUGE_PAGE, 0);
		ck_assert_uint_ge(m.n, sizes[i]);
		ck_assert_uint_eq(m.n % MEMORY_HUGE_PAGE, 0);
		for (size_t k = 0; k < m.n; k += 512)
			ck_assert_int_eq(((char *)m.p)[k], 0);
		((char *)m.p)[m.n - 1] = 1;
		ck_assert_uint_le(memory_huge(m.p, m.n), m.n);
		memory_free(&m);
		ck_assert_ptr_null(m.p);
	}
	memory_free(&m);
}
END_TEST

START_TEST(pages_are_dealt_out_to_nodes_or_come_from_anywhere)
{
	struct memory m;
	struct err e;

	/* Nodes that the machine does not have are refused by the kernel. */
	ck_assert_int_eq(memory_take(4 << 20, true, UINT64_C(3) << 40, "a test",
	    &m, &e), 0);
	memset(m.p, 1, m.n);
	memory_free(&m);
}
END_TEST

START_TEST(more_than_there_is_is_refused_with_both_sizes)
{
	size_t most = memory_available(), n = (size_t)1 << 60;
	struct memory m = { 0 };
	char want[64];
	struct err e;

	ck_assert_int_eq(memory_take(n, true, 1, "the KV cache", &m, &e),
	    ERR_NO_MEMORY);
	ck_assert_ptr_null(m.p);
	snprintf(want, sizeof(want), "no %zu MiB of memory for the KV cache",
	    n >> 20);
	ck_assert_msg(strncmp(e.text, want, strlen(want)) == 0, "%s", e.text);
	if (most != SIZE_MAX)
		ck_assert_ptr_nonnull(strstr(e.text, " MiB are available"));
	ck_assert_int_eq(memory_take(SIZE_MAX - 5, true, 1, "x", &m, &e),
	    ERR_NO_MEMORY);
}
END_TEST

/* Mappings of 4, 4 and 8 MiB; what of them is in huge pages. */
static const char smaps[] =
    "00400000-00800000 r--p 00000000 fe:00 12   /a file 7f-80\n"
    "Size:               4096 kB\n"
    "AnonHugePages:         0 kB\n"
    "FilePmdMapped:      2048 kB\n"
    "00800000-00c00000 rw-p 00000000 00:00 0\n"
    "Rss:                4096 kB\n"
    "AnonHugePages:      4096 kB\n"
    "VmFlags: rd wr hg\n"
    "01000000-01800000 rw-p 00000000 00:00 0\n"
    "AnonHugePages:         0 kB\n"
    "Private_Hugetlb:    8192 kB\n";

/* A range, in MiB, and how much of it is in huge pages. */
static const struct {
	uintptr_t from;
	size_t n, huge;
} ranges[] = {
	{ 4, 4, 2 }, { 8, 4, 4 }, { 8, 2, 2 }, { 16, 8, 8 }, { 12, 4, 0 },
	{ 4, 20, 14 }, { 24, 100, 0 }, { 0, 4, 0 },
};

START_TEST(the_kernels_count_of_huge_pages_is_believed)
{
	put(smaps);
	ck_assert_uint_eq(memory_huge_in(path,
	    (const void *)(ranges[_i].from << 20), ranges[_i].n << 20),
	    ranges[_i].huge << 20);
	ck_assert_uint_eq(memory_huge_in("/no/such/file", NULL, SIZE_MAX), 0);
}
END_TEST

START_TEST(transparent_huge_pages_may_be_forbidden)
{
	static const struct {
		const char *text;
		bool has;
	} all[] = {
		{ "always [madvise] never\n", true },
		{ "[always] madvise never\n", true },
		{ "always madvise [never]\n", false }, { "", false },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		put(all[i].text);
		ck_assert_int_eq(memory_has_huge(path), all[i].has);
	}
	ck_assert(!memory_has_huge("/no/such/file"));
}
END_TEST

/* As somebody whose limit counts. */
static void
lock_beyond_the_limit(void)
{
	const struct rlimit limit = { 64 << 10, 64 << 10 };
	const size_t n = 1 << 20;
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct err e = { 0 };

	if (p == MAP_FAILED || setrlimit(RLIMIT_MEMLOCK, &limit) != 0 ||
	    (geteuid() == 0 && setuid(65534) != 0))
		_exit(2);
	if (memory_lock(p, n, "the weights", &e) != ERR_SYSTEM)
		_exit(3);
	_exit(strcmp(e.text, "the weights (1 MiB) cannot be locked in memory: "
	    "the limit is 64 KiB; raise LimitMEMLOCK= of the unit, or ulimit "
	    "-l") == 0 ? 0 : 4);
}

START_TEST(a_limit_in_the_way_of_locking_is_named)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		lock_beyond_the_limit();
	ck_assert_int_eq((int)waitpid(child, &status, 0), (int)child);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(what_is_not_there_cannot_be_locked)
{
	struct rlimit limit;
	struct err e;

	ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (limit.rlim_cur < 4096)
		return;
	ck_assert_int_eq(memory_lock((void *)4096, 4096, "it", &e), ERR_SYSTEM);
	ck_assert_str_eq(e.text, "it (0 MiB) cannot be locked in memory: Cannot "
	    "allocate memory");
}
END_TEST

/* One reader and several, and both kinds of pages: the same model. */
START_TEST(a_model_that_is_read_is_the_one_that_is_mapped)
{
	struct model_open_options o = { .pages = MODEL_HUGE,
		.n_threads = _i, .nodes = 1 };
	struct model a, b;
	struct err e;

	ck_assert_msg(model_open(demo, false, &a, &e) == 0, "%s", e.text);
	ck_assert_msg(model_open_with(demo, &o, &b, &e) == 0, "%s", e.text);
	ck_assert(a.mapped && !b.mapped);
	ck_assert_ptr_nonnull(b.memory.p);
	ck_assert_uint_eq(a.map_size, b.map_size);
	ck_assert_int_eq(memcmp(a.map, b.map, a.map_size), 0);
	ck_assert_str_eq(a.fingerprint, b.fingerprint);
	ck_assert_int_eq(a.file_time, b.file_time);
	model_close(&a);
	model_close(&b);
}
END_TEST

static void
copy_demo(void)
{
	char command[128];

	snprintf(command, sizeof(command), "cp %s %s", demo, path);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(a_model_that_was_read_outlives_its_file)
{
	const struct model_open_options o = { .pages = MODEL_HUGE };
	struct model a, b;
	struct err e;

	copy_demo();
	ck_assert_int_eq(model_open_with(path, &o, &a, &e), 0);
	ck_assert_int_eq(truncate(path, 0), 0);
	ck_assert_int_eq(model_open(demo, false, &b, &e), 0);
	ck_assert_int_eq(memcmp(a.map, b.map, b.map_size), 0);
	model_close(&a);
	model_close(&b);
}
END_TEST

START_TEST(a_damaged_file_is_refused_when_it_is_read)
{
	const struct model_open_options o = { .pages = MODEL_HUGE,
		.n_threads = 2 };
	struct model m = { 0 };
	struct err e;
	FILE *f;

	copy_demo();
	ck_assert_ptr_nonnull(f = fopen(path, "r+"));
	ck_assert_int_eq(fseek(f, 9 << 20, SEEK_SET), 0);
	fputs("damage", f);
	fclose(f);
	ck_assert_int_eq(model_open_with(path, &o, &m, &e), ERR_BAD_FILE);
	ck_assert_ptr_null(m.map);
	ck_assert_int_eq(truncate(path, 100), 0);
	ck_assert_int_eq(model_open_with(path, &o, &m, &e), ERR_BAD_FILE);
	ck_assert_int_eq(model_open_with("/no/such", &o, &m, &e), ERR_NOT_FOUND);
	ck_assert_int_eq(model_open_with("/dev/null", &o, &m, &e), ERR_BAD_FILE);
}
END_TEST

START_TEST(a_small_model_is_mapped_unless_asked_for)
{
	const struct model_open_options o = { .pages = MODEL_AUTO };
	struct model m;
	struct err e;

	ck_assert_int_eq(model_open_with(demo, &o, &m, &e), 0);
	ck_assert(m.mapped);
	model_close(&m);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("memory");
	TCase *t = tcase_create("memory");
	SRunner *r = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, memory_is_zero_and_aligned);
	tcase_add_test(t, pages_are_dealt_out_to_nodes_or_come_from_anywhere);
	tcase_add_test(t, more_than_there_is_is_refused_with_both_sizes);
	tcase_add_loop_test(t, the_kernels_count_of_huge_pages_is_believed, 0,
	    COUNT(ranges));
	tcase_add_test(t, transparent_huge_pages_may_be_forbidden);
	if (!SLOW) {	/* the sanitizers make nothing of mlock */
		tcase_add_test(t, a_limit_in_the_way_of_locking_is_named);
		tcase_add_test(t, what_is_not_there_cannot_be_locked);
	}
	tcase_add_loop_test(t, a_model_that_is_read_is_the_one_that_is_mapped, 0,
	    4);
	tcase_add_test(t, a_model_that_was_read_outlives_its_file);
	tcase_add_test(t, a_damaged_file_is_refused_when_it_is_read);
	tcase_add_test(t, a_small_model_is_mapped_unless_asked_for);
	suite_add_tcase(suite, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

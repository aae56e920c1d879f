/* The thread team of the CPU backend. */
#include <check.h>
#include <dirent.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend/cpu_team.h"
#include "topology.h"

enum { N_STEPS = 200 };

/* What a job writes; plan and pieces alone decide what is there. */
static struct {
	atomic_int done[N_STEPS][CPU_TEAM_PIECES];
	atomic_int total, early;
	int planned;		/* steps; no atomic: plan has nobody beside it */
	int before;		/* pieces of them, written by plan, read by pieces */
	int size;
} seen;

/* Every number of pieces there may be, and steps without any. */
static int
pieces_of(int step)
{
	return step % 7 == 3 ? 0 : step % 5 == 0 ? CPU_TEAM_PIECES :
	    step * 37 % CPU_TEAM_PIECES;
}

static int
plan(void *arg, int step)
{
	ck_assert_ptr_eq(arg, &seen);
	ck_assert_int_eq(step, seen.planned++);
	if (step > 0)
		seen.before += pieces_of(step - 1);
	ck_assert_int_eq(atomic_load(&seen.total), seen.before);
	return step == N_STEPS ? -1 : pieces_of(step);
}

static void
piece(void *arg, int number, int step, int i)
{
	ck_assert_ptr_eq(arg, &seen);
	if (number < 0 || number >= seen.size || i < 0 || i >= pieces_of(step) ||
	    atomic_load(&seen.total) < seen.before)
		atomic_store(&seen.early, 1);
	atomic_fetch_add(&seen.done[step][i], 1);
	atomic_fetch_add(&seen.total, 1);
}

static const struct cpu_team_job job = { plan, piece };

static void
check_job(struct cpu_team *t)
{
	memset(&seen, 0, sizeof(seen));
	seen.size = cpu_team_size(t);
	cpu_team_run(t, &job, &seen);
	ck_assert_int_eq(seen.planned, N_STEPS + 1);
	ck_assert_int_eq(atomic_load(&seen.early), 0);
	for (int step = 0; step < N_STEPS; step++)
		for (int i = 0; i < CPU_TEAM_PIECES; i++)
			ck_assert_int_eq(atomic_load(&seen.done[step][i]),
			    i < pieces_of(step));
}

START_TEST(every_piece_is_done_once_and_after_the_step_before)
{
	static const int sizes_of[] = { 1, 2, 3, 8, 256, 0 };
	struct cpu_team *t;
	struct err e;

	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(cpu_team_create(sizes_of[i], &t, &e), 0);
		ck_assert_int_gt(cpu_team_size(t), 0);
		for (int run = 0; run < 5; run++)
			check_job(t);
		cpu_team_destroy(t);
	}
	cpu_team_destroy(NULL);
}
END_TEST

/* The first piece waits until all others of the step are done. */
static int
plan_one(void *arg, int step)
{
	(void)arg;
	return step == 0 ? 64 : -1;
}

static void
wait_for_others(void *arg, int number, int step, int i)
{
	atomic_int *others = arg;

	(void)number;
	(void)step;
	if (i > 0)
		atomic_fetch_add(others, 1);
	while (i == 0 && atomic_load(others) < 63)
		;
}

START_TEST(a_member_that_stands_still_holds_one_piece_and_no_more)
{
	static const struct cpu_team_job slow = { plan_one, wait_for_others };
	struct cpu_team *t;
	struct err e;

	ck_assert_int_eq(cpu_team_create(2, &t, &e), 0);
	for (int run = 0; run < 20; run++) {
		atomic_int others = 0;

		cpu_team_run(t, &slow, &others);
		ck_assert_int_eq(atomic_load(&others), 63);
	}
	cpu_team_destroy(t);
}
END_TEST

/* The members of teams of this process but the caller, by their names; how many. */
static int
others(pid_t tids[], int most)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *f;
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while ((f = readdir(d)) != NULL) {
		char path[300], name[32] = "";
		FILE *comm;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm",
		    f->d_name);
		if ((comm = fopen(path, "r")) == NULL)
			continue;
		if (fgets(name, sizeof(name), comm) != NULL &&
		    strncmp(name, "team ", 5) == 0 && n < most)
			tids[n++] = atoi(f->d_name);
		fclose(comm);
	}
	closedir(d);
	return n;
}

/* State of a thread, and the clock ticks that it has had. */
static char
state_of(pid_t tid, unsigned long *ticks)
{
	unsigned long user, kernel;
	char path[64], text[512] = "", state, *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	ck_assert_ptr_nonnull(f = fopen(path, "r"));
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
	fclose(f);
	ck_assert_ptr_nonnull(p = strrchr(text, ')'));
	ck_assert_int_eq(sscanf(p, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u "
	    "%*u %lu %lu", &state, &user, &kernel), 3);
	*ticks = user + kernel;
	return state;
}

START_TEST(a_team_without_a_job_sleeps)
{
	unsigned long before[3], after;
	struct cpu_team *t;
	struct err e;
	pid_t tids[3];

	ck_assert_int_eq(cpu_team_create(4, &t, &e), 0);
	check_job(t);
	while (others(tids, 3) < 3)	/* one may not have begun */
		usleep(1000);
	for (int i = 0; i < 3; i++)
		while (state_of(tids[i], &before[i]) != 'S')
			usleep(1000);	/* the test's own time is the limit */
	usleep(100000);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(state_of(tids[i], &after), 'S');
		ck_assert_uint_eq(after, before[i]);
	}
	cpu_team_destroy(t);
}
END_TEST

static int
n_allowed(pid_t tid, bool *on_first, int first)
{
	struct topology_set s = { 0 };
	int n = 0;

	ck_assert_int_eq(sched_getaffinity(tid, sizeof(s), (cpu_set_t *)&s), 0);
	for (int i = 0; i < TOPOLOGY_CPUS / 64; i++)
		n += __builtin_popcountll(s.bits[i]);
	*on_first = (s.bits[first / 64] >> first % 64 & 1) != 0;
	return n;
}

static void
stay_on(pid_t tid, int cpu)
{
	struct topology_set s = { 0 };

	s.bits[cpu / 64] = UINT64_C(1) << cpu % 64;
	ck_assert_int_eq(sched_setaffinity(tid, sizeof(s), (cpu_set_t *)&s), 0);
}

/* Both have a piece, or it does not end. */
static void
run_both(struct cpu_team *t)
{
	static const struct cpu_team_job both = { plan_one, wait_for_others };
	atomic_int done = 0;

	cpu_team_run(t, &both, &done);
}

START_TEST(members_on_one_processor_are_put_apart)
{
	struct topology_set mask;
	struct topology top;
	struct cpu_team *t;
	struct err e;
	bool on_first;
	pid_t tid;

	topology_mask(&mask);
	topology_read("", &mask, &top);
	if (top.n_list < 2)
		return;
	ck_assert_int_eq(cpu_team_create(2, &t, &e), 0);
	run_both(t);
	ck_assert_int_eq(others(&tid, 1), 1);
	stay_on(0, top.list[0]);
	stay_on(tid, top.list[0]);
	/* What moves it lets it go again; the test's own time is the limit. */
	while (n_allowed(tid, &on_first, top.list[0]) < top.n_cpus)
		run_both(t);
	ck_assert_int_eq(n_allowed(0, &on_first, top.list[0]), 1);
	cpu_team_destroy(t);
}
END_TEST

START_TEST(a_pinned_team_has_a_processor_for_each_and_lets_the_caller_go)
{
	struct topology_set mask;
	struct topology top;
	struct cpu_team *t;
	struct err e;
	bool on_first;
	pid_t tid;

	topology_mask(&mask);
	topology_read("", &mask, &top);
	if (top.n_list < 2)
		return;
	ck_assert_int_eq(cpu_team_create(2, &t, &e), 0);
	cpu_team_pin(t);
	for (int i = 0; i < 3; i++)
		run_both(t);
	ck_assert_int_eq(others(&tid, 1), 1);
	ck_assert_int_eq(n_allowed(tid, &on_first, top.list[0]), 1);
	ck_assert(!on_first);
	ck_assert_int_eq(n_allowed(0, &on_first, top.list[0]), top.n_cpus);
	cpu_team_destroy(t);
}
END_TEST

/* A number of threads, what is said of it. */
static const struct {
	int n;
	const char *sentence;
} refused[] = {
	{ -1, "-1 threads; 1 to 256 are possible" },
	{ 257, "257 threads; 1 to 256 are possible" },
	{ 10000, "10000 threads; 1 to 256 are possible" },
};

START_TEST(a_number_of_threads_that_cannot_be_is_refused)
{
	struct cpu_team *t = NULL;
	struct err e;

	ck_assert_int_eq(cpu_team_create(refused[_i].n, &t, &e), ERR_RANGE);
	ck_assert_str_eq(e.text, refused[_i].sentence);
	ck_assert_ptr_null(t);
}
END_TEST

/* A worker ends with 1 then, and is started again. */
START_TEST(threads_that_are_short_may_be_there_later)
{
	struct rlimit old, one;
	struct cpu_team *t = NULL;
	struct err e;

	/* Root has no limit. */
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NPROC, &old), 0);
	one = (struct rlimit){ 1, old.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &one), 0);
	ck_assert_int_eq(cpu_team_create(4, &t, &e), ERR_NO_MEMORY);
	ck_assert_int_eq(e.code, ERR_NO_MEMORY);
	ck_assert_ptr_nonnull(strstr(e.text, "of 4 did not start: "));
	ck_assert_ptr_null(t);
	setrlimit(RLIMIT_NPROC, &old);
	prctl(PR_SET_DUMPABLE, 1);	/* sanitizers look at it from outside */
}
END_TEST

START_TEST(no_number_is_one_thread_for_each_core)
{
	struct topology_set mask;
	struct topology top;
	struct cpu_team *t;
	struct err e;

	topology_mask(&mask);
	topology_read("", &mask, &top);
	ck_assert_int_eq(cpu_team_create(0, &t, &e), 0);
	ck_assert_int_eq(cpu_team_size(t), topology_threads(&top));
	cpu_team_destroy(t);
}
END_TEST

START_TEST(ranges_cover_everything_once)
{
	for (int n = 0; n < 200; n += 3)
		for (int unit = 1; unit <= 16; unit *= 4) {
			int at = 0, from, to;

			for (int i = 0; i < 5; i++) {
				cpu_team_range(n, unit, i, 5, &from, &to);
				ck_assert_int_eq(from, at);
				ck_assert_int_ge(to, from);
				ck_assert(to == n || to % unit == 0);
				at = to;
			}
			ck_assert_int_eq(at, n);
		}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("team");
	TCase *t = tcase_create("team");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t,
	    every_piece_is_done_once_and_after_the_step_before);
	tcase_add_test(t,
	    a_member_that_stands_still_holds_one_piece_and_no_more);
	tcase_add_test(t, a_team_without_a_job_sleeps);
	tcase_add_test(t, members_on_one_processor_are_put_apart);
	tcase_add_test(t,
	    a_pinned_team_has_a_processor_for_each_and_lets_the_caller_go);
	tcase_add_loop_test(t, a_number_of_threads_that_cannot_be_is_refused, 0,
	    sizeof(refused) / sizeof(refused[0]));
	tcase_add_test(t, threads_that_are_short_may_be_there_later);
	tcase_add_test(t, no_number_is_one_thread_for_each_core);
	tcase_add_test(t, ranges_cover_everything_once);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

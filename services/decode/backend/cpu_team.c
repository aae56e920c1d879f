/*
 * What is free to be taken is a set of bits, one for each piece of the step at
 * hand; to clear one is to own the piece.  Who ends the last piece of a step
 * opens the next one.  A piece that is owned keeps its step open, so only its
 * owner needs to know which step it is: a member that slept through many steps,
 * or a whole job, takes what is free when it wakes and cannot be wrong.
 *
 * Each begins to look where its part would be if the pieces were dealt out: the
 * same weights come to the same processor's cache each time, as long as nobody
 * is late.
 *
 * Who finds nothing looks at the count of steps for a while, since a forward
 * pass has a hundred of them a few microseconds apart, and then sleeps in the
 * kernel (futex), so that an idle team costs nothing and one that shares its
 * cores with others gives them away.  `sleeping` spares the waker the system
 * call when nobody sleeps.
 *
 * Where a member runs is the scheduler's choice among the processors of the mask.
 * Pinned members would wait for a foreign process beside which they stand while
 * another processor is idle because its member waits for them.  But a member that
 * wakes is put beside its waker unless a processor is idle, and one with a process
 * of the lowest priority is not.  So a member that finds itself, when a job
 * begins, where another one is moves to a processor where nobody is; but seldom,
 * since a move costs more than a step, and where all processors are in use the
 * scheduler puts them together again at once.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/cpu_team.h"
#include "clock.h"
#include "topology.h"

/* Some 20 µs of looking, then sleep. */
enum { SPINS = 2000, WORDS = CPU_TEAM_PIECES / 64, AT_CPUS = 1 << 16,
	MOVE_MS = 100 };	/* from one move of a member to the next */

struct event {
	_Alignas(64) atomic_uint count;
	atomic_int sleeping;	/* somebody may be */
};

struct cpu_team {
	_Alignas(64) _Atomic uint64_t free[WORDS];	/* pieces nobody has */
	atomic_int n_pieces;	/* of the step; a hint where to look */
	_Alignas(64) atomic_int left;	/* pieces that are not done */
	struct event event;	/* a step is open, or the job is over */
	/* Written before pieces are free, or the job is over. */
	_Alignas(64) const struct cpu_team_job *job;
	void *arg;
	int step;
	atomic_bool over, stop;
	_Atomic uint64_t jobs;	/* that began */
	int n, started;		/* members; of them, threads that run */
	bool alone;		/* no more members than processors */
	atomic_bool pinned;
	struct topology_set mask;	/* the processors, */
	struct topology top;	/* and in which order they are taken */
	struct member {
		_Alignas(64) struct cpu_team *team;
		pthread_t thread;
		int number;
		bool fixed;		/* it is pinned */
		int64_t moved_ms;	/* when it moved last */
		uint64_t job;		/* the last that it knows of */
		_Atomic uint64_t at;	/* job * AT_CPUS + processor */
	} members[CPU_TEAM_MAX];
};

static void
pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* Return when ev->count is no longer seen. */
static void
await(struct event *ev, unsigned seen)
{
	for (int i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(&ev->count, memory_order_acquire) != seen)
			return;
		pause_briefly();
	}
	while (atomic_load(&ev->count) == seen) {
		atomic_store(&ev->sleeping, 1);
		syscall(SYS_futex, &ev->count, FUTEX_WAIT_PRIVATE, seen, NULL,
		    NULL, 0);
	}
}

static void
announce(struct event *ev)
{
	/* Both are sequentially consistent: either we see the sleeper, or the
	 * kernel, which compares the count, does not let it sleep. */
	atomic_fetch_add(&ev->count, 1);
	if (atomic_load(&ev->sleeping) != 0 &&
	    atomic_exchange(&ev->sleeping, 0) != 0)
		syscall(SYS_futex, &ev->count, FUTEX_WAKE_PRIVATE, CPU_TEAM_MAX,
		    NULL, NULL, 0);
}

/* A piece that is number's now, or -1. */
static int
claim(struct cpu_team *t, int number)
{
	int start = atomic_load_explicit(&t->n_pieces, memory_order_relaxed) *
	    number / t->n;

	/* The first word comes twice: from start on, and from its beginning. */
	for (int i = 0; i <= WORDS; i++) {
		int w = (start / 64 + i) % WORDS;
		uint64_t seen = atomic_load_explicit(&t->free[w],
		    memory_order_relaxed);

		for (seen &= i == 0 ? ~UINT64_C(0) << start % 64 : ~UINT64_C(0);
		    seen != 0; seen &= seen - 1) {
			uint64_t bit = seen & ~(seen - 1);

			if (atomic_fetch_and(&t->free[w], ~bit) & bit)
				return 64 * w + __builtin_ctzll(bit);
		}
	}
	return -1;
}

/* All pieces are done: open the next step that has some, or end the job. */
static void
advance(struct cpu_team *t)
{
	int n;

	do
		n = t->job->plan(t->arg, ++t->step);
	while (n == 0);
	if (n < 0) {
		atomic_store(&t->over, true);
	} else {
		atomic_store_explicit(&t->n_pieces, n, memory_order_relaxed);
		atomic_store_explicit(&t->left, n, memory_order_relaxed);
		for (int w = 0; 64 * w < n; w++)
			atomic_store_explicit(&t->free[w], n - 64 * w >= 64 ?
			    ~UINT64_C(0) : (UINT64_C(1) << (n - 64 * w)) - 1,
			    memory_order_release);
	}
	announce(&t->event);
}

static struct topology_set
only(int cpu)
{
	struct topology_set s = { 0 };

	s.bits[cpu / 64] = UINT64_C(1) << cpu % 64;
	return s;
}

static void
stay_on(struct topology_set cpus)
{
	(void)sched_setaffinity(0, sizeof(cpus), (cpu_set_t *)&cpus);
}

/* Go to cpu; from there it is free to go anywhere. */
static void
go_to(const struct cpu_team *t, int cpu)
{
	stay_on(only(cpu));
	stay_on(t->mask);
}

/* Is one of the first n members on cpu, in job? */
static bool
is_taken(struct cpu_team *t, int n, uint64_t job, int cpu)
{
	for (int i = 0; i < n; i++)
		if (atomic_load_explicit(&t->members[i].at,
		    memory_order_relaxed) == job * AT_CPUS + (uint64_t)cpu)
			return true;
	return false;
}

/* A job begins: say where we are, and move if one of the others is here. */
static void
find_place(struct cpu_team *t, int number, uint64_t job)
{
	int here = sched_getcpu(), i = 0;

	if (t->pinned && t->members[number].fixed)
		return;
	if (t->pinned) {
		stay_on(only(t->top.list[number]));
		t->members[number].fixed = number > 0;
		return;
	}
	if (here < 0 || here >= AT_CPUS || !t->alone)
		return;
	if (is_taken(t, number, job, here) &&
	    clock_ms() - t->members[number].moved_ms >= MOVE_MS) {
		t->members[number].moved_ms = clock_ms();
		while (i < t->n && is_taken(t, t->n, job, t->top.list[i]))
			i++;
		here = t->top.list[i < t->n ? i : number];
		go_to(t, here);
	}
	atomic_store_explicit(&t->members[number].at,
	    job * AT_CPUS + (uint64_t)here, memory_order_relaxed);
}

/* Take pieces until *end. */
static void
work(struct cpu_team *t, int number, atomic_bool *end)
{
	struct member *me = &t->members[number];

	for (;;) {
		unsigned seen = atomic_load(&t->event.count);
		uint64_t job = atomic_load_explicit(&t->jobs,
		    memory_order_acquire);
		int piece;

		if (me->job != job)
			find_place(t, number, me->job = job);
		piece = claim(t, number);

		if (piece >= 0) {
			t->job->piece(t->arg, number, t->step, piece);
			if (atomic_fetch_sub(&t->left, 1) == 1)
				advance(t);
		} else if (atomic_load(end)) {
			return;
		} else {
			await(&t->event, seen);
		}
	}
}

static void *
member_main(void *arg)
{
	struct member *me = arg;
	char name[16];

	snprintf(name, sizeof(name), "team %d", me->number);
	(void)pthread_setname_np(pthread_self(), name);
	if (me->team->alone)
		go_to(me->team, me->team->top.list[me->number]);
	work(me->team, me->number, &me->team->stop);
	return NULL;
}

void
cpu_team_run(struct cpu_team *t, const struct cpu_team_job *job, void *arg)
{
	t->job = job;
	t->arg = arg;
	t->step = -1;
	atomic_store(&t->over, false);
	/* First, so that the others see where we are. */
	find_place(t, 0, ++t->members[0].job);
	atomic_store_explicit(&t->jobs, t->members[0].job,
	    memory_order_release);
	advance(t);
	work(t, 0, &t->over);
	/* Not for good: what the caller starts would be pinned with it. */
	if (t->pinned)
		stay_on(t->mask);
}

void
cpu_team_pin(struct cpu_team *t)
{
	/* Each of the others sees to it itself when it begins a job. */
	atomic_store(&t->pinned, t->alone);
}

int
cpu_team_create(int n_threads, struct cpu_team **out, struct err *e)
{
	struct cpu_team *t;
	sigset_t all, before;
	struct topology_set mask;
	struct topology top;
	int r = 0, n = n_threads;

	topology_mask(&mask);
	topology_read("", &mask, &top);
	if (n == 0)
		n = topology_threads(&top);
	if (n_threads == 0 && n > CPU_TEAM_MAX)
		n = CPU_TEAM_MAX;
	if (n < 1 || n > CPU_TEAM_MAX)
		return err_set(e, ERR_RANGE, "%d threads; 1 to %d are possible",
		    n, CPU_TEAM_MAX);
	t = aligned_alloc(64, sizeof(*t));
	if (t == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %d threads", n);
	memset(t, 0, sizeof(*t));
	t->n = n;
	t->mask = mask;
	t->top = top;
	t->alone = n > 1 && n <= top.n_list;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (t->started = 1; t->started < n && r == 0; t->started += r == 0) {
		struct member *me = &t->members[t->started];

		*me = (struct member){ .team = t, .number = t->started };
		r = pthread_create(&me->thread, NULL, member_main, me);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		r = err_set(e, ERR_NO_MEMORY, "thread %d of %d did not start: %s",
		    t->started, n, strerror(r));
		cpu_team_destroy(t);
		return r;
	}
	*out = t;
	return 0;
}

void
cpu_team_destroy(struct cpu_team *t)
{
	if (t == NULL)
		return;
	atomic_store(&t->stop, true);
	announce(&t->event);
	for (int i = 1; i < t->started; i++)
		pthread_join(t->members[i].thread, NULL);
	free(t);
}

int
cpu_team_size(const struct cpu_team *t)
{
	return t->n;
}

uint64_t
cpu_team_nodes(const struct cpu_team *t)
{
	return t->top.nodes;
}

void
cpu_team_range(int n, int unit, int piece, int n_pieces, int *from, int *to)
{
	int64_t n_units = (n + unit - 1) / unit;
	int64_t a = n_units * piece / n_pieces * unit;
	int64_t b = n_units * (piece + 1) / n_pieces * unit;

	*from = a < n ? (int)a : n;
	*to = b < n ? (int)b : n;
}

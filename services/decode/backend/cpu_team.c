/*
 * One 32-bit word that everybody waits on: `round` counts jobs, `phase` counts
 * barriers.  Who waits looks at it for a while, since a forward pass has a
 * hundred barriers a few microseconds apart, and then sleeps in the kernel
 * (futex), so that an idle team costs nothing and one that shares its cores
 * with others gives them away.  `sleepers` spares the waker the system call
 * when nobody sleeps.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/cpu_team.h"

/* Some 20 µs of looking, then sleep. */
enum { SPINS = 2000 };

struct event {
	_Alignas(64) atomic_uint count;
	atomic_int sleepers;
};

struct cpu_team {
	struct event round;	/* a job is there */
	struct event phase;	/* a barrier is complete */
	_Alignas(64) atomic_int arrived;
	_Alignas(64) cpu_team_job *job;	/* written before round counts */
	void *arg;
	int n;
	atomic_bool stop;
	struct member {
		struct cpu_team *team;
		pthread_t thread;
		int number;
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
	atomic_fetch_add(&ev->sleepers, 1);
	while (atomic_load(&ev->count) == seen)
		syscall(SYS_futex, &ev->count, FUTEX_WAIT_PRIVATE, seen, NULL,
		    NULL, 0);
	atomic_fetch_sub(&ev->sleepers, 1);
}

static void
announce(struct event *ev)
{
	/* Both are sequentially consistent: either we see the sleeper, or the
	 * kernel, which compares the count, does not let it sleep. */
	atomic_fetch_add(&ev->count, 1);
	if (atomic_load(&ev->sleepers) > 0)
		syscall(SYS_futex, &ev->count, FUTEX_WAKE_PRIVATE, CPU_TEAM_MAX,
		    NULL, NULL, 0);
}

void
cpu_team_barrier(struct cpu_team *t)
{
	unsigned seen;

	if (t->n == 1)
		return;
	seen = atomic_load_explicit(&t->phase.count, memory_order_relaxed);
	if (atomic_fetch_add(&t->arrived, 1) + 1 < t->n) {
		await(&t->phase, seen);
		return;
	}
	atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
	announce(&t->phase);
}

static void *
member_main(void *arg)
{
	struct member *me = arg;
	struct cpu_team *t = me->team;
	/* The team is made before its first job, so rounds start at 0. */
	for (unsigned seen = 0;; seen++) {
		await(&t->round, seen);
		if (atomic_load(&t->stop))
			return NULL;
		t->job(t, me->number, t->arg);
		cpu_team_barrier(t);
	}
}

void
cpu_team_run(struct cpu_team *t, cpu_team_job *job, void *arg)
{
	t->job = job;
	t->arg = arg;
	if (t->n > 1)
		announce(&t->round);
	job(t, 0, arg);
	cpu_team_barrier(t);
}

static int
n_processors(void)
{
	int n = 0;
	cpu_set_t *set = CPU_ALLOC(4096);	/* more than any kernel has */

	if (set != NULL && sched_getaffinity(0, CPU_ALLOC_SIZE(4096), set) == 0)
		n = CPU_COUNT_S(CPU_ALLOC_SIZE(4096), set);
	CPU_FREE(set);
	return n < 1 ? 1 : n > CPU_TEAM_MAX ? CPU_TEAM_MAX : n;
}

int
cpu_team_create(int n_threads, struct cpu_team **out, struct err *e)
{
	struct cpu_team *t;
	sigset_t all, before;
	int r = 0, n = n_threads == 0 ? n_processors() : n_threads;

	if (n < 1 || n > CPU_TEAM_MAX)
		return err_set(e, ERR_RANGE, "%d threads; 1 to %d are possible",
		    n, CPU_TEAM_MAX);
	t = aligned_alloc(64, sizeof(*t));
	if (t == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %d threads", n);
	memset(t, 0, sizeof(*t));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (t->n = 1; t->n < n && r == 0; t->n += r == 0) {
		struct member *me = &t->members[t->n];

		*me = (struct member){ .team = t, .number = t->n };
		r = pthread_create(&me->thread, NULL, member_main, me);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		err_set(e, ERR_SYSTEM, "thread %d of %d did not start: %s", t->n,
		    n, strerror(r));
		cpu_team_destroy(t);
		return ERR_SYSTEM;
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
	announce(&t->round);
	for (int i = 1; i < t->n; i++)
		pthread_join(t->members[i].thread, NULL);
	free(t);
}

int
cpu_team_size(const struct cpu_team *t)
{
	return t->n;
}

void
cpu_team_share(const struct cpu_team *t, int number, int n, int step, int *from,
    int *to)
{
	int64_t n_steps = (n + step - 1) / step;
	int64_t a = n_steps * number / t->n * step;
	int64_t b = n_steps * (number + 1) / t->n * step;

	*from = a < n ? (int)a : n;
	*to = b < n ? (int)b : n;
}

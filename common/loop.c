#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "err.h"
#include "loop.h"

enum { GUARD_STACK = 64 * 1024 };

/* What the signal would do, were it not blocked. */
static void
end_process(int signo)
{
	sigset_t set;

	signal(signo, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, signo);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	raise(signo);
}

static void *
guard(void *arg)
{
	struct loop *l = arg;
	struct signalfd_siginfo info;
	struct pollfd p[2] = {
		{ .fd = l->end_fd, .events = POLLIN },
		{ .fd = l->fd, .events = POLLIN },
	};

	for (;;) {
		if (poll(p, 2, -1) == -1 && errno != EINTR)
			return NULL;
		if (p[0].revents != 0)
			return NULL;
		if (read(l->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
			continue;
		if (info.ssi_signo == SIGHUP)
			l->missed = true;
		else if (l->first || info.ssi_signo == SIGINT)
			end_process((int)info.ssi_signo);
	}
}

/* Without it the signals wait, as they do for the loop: no reason to fail. */
static void
start_guard(struct loop *l, bool first)
{
	pthread_attr_t attr;

	l->first = first;
	l->end_fd = eventfd(0, EFD_CLOEXEC);
	if (l->end_fd == -1 || pthread_attr_init(&attr) != 0)
		return;
	pthread_attr_setstacksize(&attr, GUARD_STACK);
	l->guarded = pthread_create(&l->guard, &attr, guard, l) == 0;
	pthread_attr_destroy(&attr);
}

void
loop_ready(struct loop *l)
{
	if (l->guarded && eventfd_write(l->end_fd, 1) == 0)
		pthread_join(l->guard, NULL);
	l->guarded = false;
	if (l->end_fd != -1)
		close(l->end_fd);
	l->end_fd = -1;
}

int
loop_init(struct loop *l)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1 ||
	    signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    (l->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) == -1)
		return ERR_SYSTEM;
	l->missed = false;
	start_guard(l, true);
	return 0;
}

/* Take what signals there are.  Was one of them to end the process? */
static bool
take_signals(struct loop *l)
{
	struct signalfd_siginfo info;

	while (read(l->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo != SIGHUP)
			return true;
		if (l->reload != NULL)
			l->reload(l->arg);
	}
	return false;
}

int
loop_run(struct loop *l)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };
	bool ticks = l->tick != NULL && l->tick_ms > 0;
	int64_t next = clock_ms() + l->tick_ms, now;

	loop_ready(l);
	if (l->missed && l->reload != NULL)
		l->reload(l->arg);
	for (;;) {
		now = clock_ms();
		if (ticks && now >= next) {
			l->tick(l->arg);
			/* After a long tick or a suspend none is made up for. */
			now = clock_ms();
			next = next + l->tick_ms > now ? next + l->tick_ms :
			    now + l->tick_ms;
		}
		if (poll(&p, 1, ticks ? (int)(next - now) : -1) == -1 &&
		    errno != EINTR)
			return ERR_SYSTEM;
		if (take_signals(l)) {
			start_guard(l, false);
			return 0;
		}
	}
}

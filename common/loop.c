#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "err.h"
#include "loop.h"

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
		if (take_signals(l))
			return 0;
	}
}

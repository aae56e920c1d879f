#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/model_guard.h"

/*
 * The line is made beforehand: a handler may call next to nothing.
 */
static char line[400];
static size_t n_line;
static uintptr_t begin, end;
static int status;

static void
on_bus_error(int signo, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	if (info->si_code > 0 && at >= begin && at < end) {
		ssize_t n = write(STDERR_FILENO, line, n_line);

		(void)n;
		_exit(status);
	}
	/* Not ours: the instruction runs again and ends the process. */
	(void)signal(signo, SIG_DFL);
	if (info->si_code <= 0)
		(void)raise(signo);
}

static void
guard(const char *who, const char *path)
{
	struct sigaction sa = { .sa_sigaction = on_bus_error,
	    .sa_flags = SA_SIGINFO };
	int n = snprintf(line, sizeof(line), "%s%s: %.200s: the file became "
	    "shorter, or cannot be read any more, while it is in use; replace a "
	    "model by renaming another over it\n",
	    getenv("JOURNAL_STREAM") != NULL ? "<3>" : "", who, path);

	n_line = n > 0 && (size_t)n < sizeof(line) ? (size_t)n : strlen(line);
	sigemptyset(&sa.sa_mask);
	(void)sigaction(SIGBUS, &sa, NULL);
}

void
model_guard_open(const char *who, const char *path, int with_status)
{
	begin = 0;
	end = UINTPTR_MAX;
	status = with_status;
	guard(who, path);
}

void
model_guard(const struct model *m, const char *path)
{
	if (!m->mapped) {
		(void)signal(SIGBUS, SIG_DFL);
		return;
	}
	begin = (uintptr_t)m->map;
	end = begin + m->map_size;
	status = 1;
	guard("decode", path);
}

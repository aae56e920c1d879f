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

static void
on_bus_error(int signo, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	if (at >= begin && at < end) {
		ssize_t n = write(STDERR_FILENO, line, n_line);

		(void)n;
		_exit(1);
	}
	/* Not ours: the instruction runs again and ends the process. */
	(void)signal(signo, SIG_DFL);
}

void
model_guard(const struct model *m, const char *path)
{
	struct sigaction sa = { .sa_sigaction = on_bus_error,
	    .sa_flags = SA_SIGINFO };
	int n;

	if (!m->mapped)
		return;
	n = snprintf(line, sizeof(line), "%sdecode: %.200s: the file became "
	    "shorter, or cannot be read any more, while it is in use; replace a "
	    "model by renaming another over it\n",
	    getenv("JOURNAL_STREAM") != NULL ? "<3>" : "", path);
	n_line = n > 0 && (size_t)n < sizeof(line) ? (size_t)n : strlen(line);
	begin = (uintptr_t)m->map;
	end = begin + m->map_size;
	sigemptyset(&sa.sa_mask);
	(void)sigaction(SIGBUS, &sa, NULL);
}

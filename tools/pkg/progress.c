#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "progress.h"

static int64_t last_ms;
static bool shown;

void
progress_show(void *arg, uint64_t done, uint64_t total)
{
	int64_t now = clock_ms();
	int width = (int)((double)done / (double)total * 40);

	(void)arg;
	if (isatty(STDERR_FILENO) != 1 || (now - last_ms < 100 && done != total))
		return;
	last_ms = now;
	shown = true;
	fprintf(stderr, "\r[%.*s%*s] %3d %%", width,
	    "########################################", 40 - width, "",
	    width * 100 / 40);
}

void
progress_end(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	shown = false;
}

#include <inttypes.h>
#include <limits.h>
#include <systemd/sd-daemon.h>

#include "clock.h"
#include "notify.h"

/* What sd_notify returns is of no use: without a manager nothing is lost. */

void
notify_ready(const char *status)
{
	sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void
notify_reloading(void)
{
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
	    clock_ns() / 1000);
}

void
notify_status(const char *status)
{
	sd_notifyf(0, "STATUS=%s", status);
}

void
notify_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}

void
notify_alive(void)
{
	sd_notify(0, "WATCHDOG=1");
}

int
notify_interval_ms(void)
{
	uint64_t usec = 0, ms;

	if (sd_watchdog_enabled(0, &usec) <= 0)
		return 0;
	ms = usec / 2000;
	return ms == 0 ? 1 : ms > INT_MAX ? INT_MAX : (int)ms;
}

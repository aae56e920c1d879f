#ifndef COMMON_NOTIFY_H
#define COMMON_NOTIFY_H

/*
 * The service manager (sd_notify(3)); without one every call does nothing.
 */
void notify_ready(const char *status);		/* READY=1 and STATUS= */
/* RELOADING=1; notify_ready when it is over. */
void notify_reloading(void);
void notify_status(const char *status);
void notify_stopping(void);

/* WATCHDOG=1.  The caller feeds it only after it has made sure of progress. */
void notify_alive(void);

/* How often to call notify_alive: half of WatchdogSec, or 0 for never. */
int notify_interval_ms(void);

#endif

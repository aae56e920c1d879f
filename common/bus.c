/*
 * What both ends of the bus need: paths, the directory, the lock, threads,
 * messages.  The ends are in bus_server.c and bus_client.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "bus_nng.h"

int
bus_path(char *out, const char *dir, const char *name, const char *suffix,
    struct err *e)
{
	int n = snprintf(out, BUS_PATH_MAX + 1, "%s/%s.%s", dir, name, suffix);

	if (n < 0 || n > BUS_PATH_MAX)
		return err_set(e, ERR_RANGE, "the path %.120s/%.40s.%s has %d "
		    "bytes, more than %d: choose a shorter runtime directory",
		    dir, name, suffix, n, BUS_PATH_MAX);
	return 0;
}

int
bus_make_dir(const char *dir, struct err *e)
{
	struct stat st;

	/* chmod because the mask may be anything, and the group has to enter. */
	if (mkdir(dir, 0750) == 0) {
		if (chmod(dir, 0750) == -1)
			return err_set(e, ERR_SYSTEM, "runtime directory "
			    "%.120s: chmod: %s", dir, strerror(errno));
	} else if (errno != EEXIST) {
		return err_set(e, ERR_SYSTEM, "runtime directory %.120s cannot "
		    "be made: %s", dir, strerror(errno));
	}
	if (stat(dir, &st) == -1)
		return err_set(e, ERR_SYSTEM, "runtime directory %.120s: %s",
		    dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_SYSTEM, "runtime directory %.120s is not "
		    "a directory", dir);
	if (access(dir, W_OK | X_OK) == -1)
		return err_set(e, ERR_SYSTEM, "runtime directory %.120s cannot "
		    "be written: %s", dir, strerror(errno));
	return 0;
}

/* The sentence for a lock that another process has, whose id is in it. */
static int
say_taken(int fd, const char *name, const char *path, struct err *e)
{
	char pid[16] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
	return err_set(e, ERR_EXISTS, "another %s is running (process %s holds "
	    "%s)", name, *pid != '\0' ? pid : "unknown", path);
}

int
bus_lock(const char *dir, const char *name, struct err *e)
{
	char path[BUS_PATH_MAX + 1], pid[16];
	int fd, n, r;

	if ((r = bus_path(path, dir, name, "lock", e)) != 0 ||
	    (r = bus_make_dir(dir, e)) != 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd == -1)
		return err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		r = errno == EWOULDBLOCK ? say_taken(fd, name, path, e) :
		    err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
		close(fd);
		return r;
	}
	/* The id is only for the sentence above; the lock is what counts. */
	n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) == -1 || pwrite(fd, pid, (size_t)n, 0) != n) {
		r = err_set(e, ERR_SYSTEM, "%s: %s", path, strerror(errno));
		close(fd);
		return r;
	}
	return 0;	/* fd stays open, and so the lock, until the exit */
}

int
bus_code(int r)
{
	return r == NNG_ENOMEM || r == NNG_ENOFILES ? ERR_NO_MEMORY :
	    ERR_SYSTEM;
}

const char *
bus_why(int r)
{
	return r == NNG_ENOMEM ? "memory or threads are short (TasksMax=, ulimit -u)" :
	    nng_strerror(r);
}

int
bus_thread(void *(*fn)(void *), void *arg, struct err *e)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t t;
	int r = pthread_attr_init(&attr);

	if (r != 0)
		return err_set(e, ERR_NO_MEMORY, "thread: %s", strerror(r));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if ((r = pthread_attr_setstacksize(&attr, BUS_STACK)) == 0 &&
	    (r = pthread_attr_setdetachstate(&attr,
	    PTHREAD_CREATE_DETACHED)) == 0)
		r = pthread_create(&t, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r != 0)
		return err_set(e, ERR_NO_MEMORY, "thread: %s", strerror(r));
	return 0;
}

int
bus_message(const struct frame *f, nng_msg **m, struct err *e)
{
	struct buf b = { 0 };
	int r = frame_write(f, &b, e);

	/* The other end would drop the connection without a word. */
	if (r == 0 && b.len > BUS_MESSAGE_MAX)
		r = err_set(e, ERR_RANGE, BUS_TOO_LARGE, b.len, BUS_MESSAGE_MAX);
	if (r == 0 && nng_msg_alloc(m, b.len) != 0)
		r = err_set(e, ERR_NO_MEMORY, "no memory for a message");
	if (r == 0)
		memcpy(nng_msg_body(*m), b.data, b.len);
	buf_free(&b);
	return r;
}

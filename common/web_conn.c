#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "web_priv.h"

/*
 * CivetWeb's time-outs begin anew with every byte, so a peer that sends or
 * takes one now and then holds a thread for ever.  Deadlines are therefore
 * kept by a thread of ours: a transfer is armed with one, and when it passes
 * the keeper shuts the socket down, which makes the call return.
 *
 * CivetWeb does not tell its socket.  It is the one descriptor of this process
 * whose two addresses are those of the connection, and stays open as long as
 * the handler runs, so it is sought once per request that needs it.
 */
enum { PIECE_MAX = 64 << 10, LINGER_MS = 2000, FITS_MAX = 8 << 10, FRAME_MAX = 768 };

static bool
has_addresses(int fd, const struct mg_request_info *info)
{
	struct sockaddr_in us, peer;
	socklen_t n_us = sizeof(us), n_peer = sizeof(peer);
	char text[INET_ADDRSTRLEN];

	return getpeername(fd, (struct sockaddr *)&peer, &n_peer) == 0 &&
	    n_peer == sizeof(peer) && peer.sin_family == AF_INET &&
	    ntohs(peer.sin_port) == info->remote_port &&
	    getsockname(fd, (struct sockaddr *)&us, &n_us) == 0 &&
	    ntohs(us.sin_port) == info->server_port &&
	    inet_ntop(AF_INET, &peer.sin_addr, text, sizeof(text)) != NULL &&
	    strcmp(text, info->remote_addr) == 0;
}

void
web_trim_stack(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), low, here;
	pthread_attr_t attr;
	void *stack;
	size_t size;

	if (pthread_getattr_np(pthread_self(), &attr) != 0)
		return;
	if (pthread_attr_getstack(&attr, &stack, &size) == 0) {
		low = (uintptr_t)stack;
		/* Less what this function and madvise have below it. */
		here = ((uintptr_t)&stack - FRAME_MAX) & ~(page - 1);
		if (here > low && here - low < size)
			madvise(stack, here - low, MADV_DONTNEED);
	}
	pthread_attr_destroy(&attr);
}

int
web_conn_fd(struct web_request *rq)
{
	struct dirent *entry;
	DIR *dir;
	int fd;

	if (rq->fd_sought)
		return rq->fd;
	rq->fd_sought = true;
	rq->fd = -1;
	dir = opendir("/proc/self/fd");
	if (dir == NULL)
		return -1;
	while (rq->fd == -1 && (entry = readdir(dir)) != NULL) {
		fd = atoi(entry->d_name);	/* 0 for "." and ".." */
		if (fd > 0 && has_addresses(fd, rq->info))
			rq->fd = fd;
	}
	closedir(dir);
	return rq->fd;
}

static void
arm(struct web_request *rq, int how, int64_t deadline_ms)
{
	struct web *w = rq->web;

	if (web_conn_fd(rq) == -1)
		return;
	pthread_mutex_lock(&w->lock);
	rq->how = how;
	rq->deadline_ms = deadline_ms;
	rq->next = w->armed;
	rq->prev = &w->armed;
	if (rq->next != NULL)
		rq->next->prev = &rq->next;
	w->armed = rq;
	if (deadline_ms < w->wake_at_ms)
		pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

static void
disarm(struct web_request *rq)
{
	struct web *w = rq->web;

	if (rq->fd == -1)
		return;
	pthread_mutex_lock(&w->lock);
	*rq->prev = rq->next;
	if (rq->next != NULL)
		rq->next->prev = rq->prev;
	pthread_mutex_unlock(&w->lock);
}

static void *
keep(void *arg)
{
	struct web *w = arg;
	struct web_request *rq;
	struct timespec at;
	int64_t now;

	pthread_mutex_lock(&w->lock);
	while (!w->keeper_ends) {
		now = clock_ms();
		w->wake_at_ms = INT64_MAX;
		for (rq = w->armed; rq != NULL; rq = rq->next) {
			if (!rq->cut && rq->deadline_ms <= now) {
				rq->cut = true;
				shutdown(rq->fd, rq->how);
			}
			if (!rq->cut && rq->deadline_ms < w->wake_at_ms)
				w->wake_at_ms = rq->deadline_ms;
		}
		if (w->wake_at_ms == INT64_MAX) {
			pthread_cond_wait(&w->wake, &w->lock);
			continue;
		}
		at.tv_sec = (time_t)(w->wake_at_ms / 1000);
		at.tv_nsec = (long)(w->wake_at_ms % 1000) * 1000000;
		pthread_cond_timedwait(&w->wake, &w->lock, &at);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int
web_keeper_start(struct web *w, struct err *e)
{
	pthread_condattr_t attr;
	int r;

	w->wake_at_ms = INT64_MAX;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	r = pthread_create(&w->keeper, NULL, keep, w);
	if (r == 0)
		return 0;
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	return err_set(e, ERR_NO_MEMORY, "cannot start a thread: %s", strerror(r));
}

void
web_keeper_stop(struct web *w)
{
	pthread_mutex_lock(&w->lock);
	w->keeper_ends = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->keeper, NULL);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
}

int
web_conn_read(struct web_request *rq, void *p, size_t n, int64_t deadline_ms)
{
	int r;

	arm(rq, SHUT_RD, deadline_ms);
	r = mg_read(rq->conn, p, n);
	disarm(rq);
	return rq->cut ? -1 : r;
}

bool
web_conn_write(struct web_request *rq, const void *data, size_t n)
{
	const char *p = data;
	size_t piece;
	bool fits;

	for (; n > 0 && !rq->broken; n -= piece, p += piece) {
		piece = n < PIECE_MAX ? n : PIECE_MAX;
		/* The kernel takes a small answer at once: save the search. */
		fits = !rq->fd_sought && rq->bytes_out + piece <= FITS_MAX;
		if (!fits)
			arm(rq, SHUT_RDWR, clock_ms() + rq->web->write_ms);
		if (mg_write(rq->conn, p, piece) != (int)piece)
			rq->broken = true;
		else
			rq->bytes_out += piece;
		if (!fits)
			disarm(rq);
	}
	return !rq->broken;
}

void
web_conn_linger(struct web_request *rq)
{
	int64_t left, until = clock_ms() + LINGER_MS;
	struct pollfd p = { .fd = web_conn_fd(rq), .events = POLLIN };
	char piece[4096];

	if (p.fd == -1 || rq->broken || shutdown(p.fd, SHUT_WR) == -1)
		return;
	while ((left = until - clock_ms()) > 0 && !rq->web->ending) {
		if (poll(&p, 1, (int)left) == -1 && errno != EINTR)
			return;
		if (p.revents != 0 &&
		    recv(p.fd, piece, sizeof(piece), MSG_DONTWAIT) <= 0)
			return;
	}
}

bool
web_client_gone(struct web_request *rq)
{
	struct pollfd p = { .fd = web_conn_fd(rq), .events = POLLRDHUP };

	if (rq->broken || rq->web->ending)
		return true;
	if (p.fd == -1 || poll(&p, 1, 0) != 1)
		return false;
	return (p.revents & (POLLHUP | POLLERR | POLLRDHUP)) != 0;
}

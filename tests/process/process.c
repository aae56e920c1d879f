#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "process.h"

enum {
	RUN_MS = 300000, ENV_MAX = 256,
	PORT_MIN = 10000, N_PORTS = 10000,	/* below those the kernel gives away */
};

extern char **environ;

void
process_make_dir(char dir[64])
{
	ck_assert_int_lt(snprintf(dir, 64, "%s/run-" "XX" "XX" "XX", BUILD), 64);
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

void
process_remove_dir(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct sockaddr_in
loopback(int port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

/* Take the port for this process: a name that the kernel gives to one alone, and takes
 * back at its end. */
static bool
reserve(int port)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int n = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1,
	    "onebit-test-port-%d", port);

	if (bind(fd, (struct sockaddr *)&at,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) +
	    (socklen_t)n) == 0)
		return true;
	close(fd);
	return false;
}

static bool
is_free(int port)
{
	struct sockaddr_in at = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	bool is;

	/* As the servers do it: old connections are no hindrance. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	is = bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
	close(fd);
	return is;
}

int
process_free_port(void)
{
	static unsigned next;

	for (int i = 0; i < N_PORTS; i++) {
		int port = PORT_MIN + (int)(((unsigned)getpid() * 37 + next++) %
		    N_PORTS);

		if (reserve(port) && is_free(port))
			return port;
	}
	ck_abort_msg("there is no free port");
}

/* The manager's end: an abstract socket, whose name is written with '@'. */
static int
open_notify(char *variable, size_t size)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	static int n_opened;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int n = snprintf(variable, size, "NOTIFY_SOCKET=@onebit-test-%d-%d",
	    (int)getpid(), n_opened++);
	const char *name = strchr(variable, '@') + 1;

	ck_assert_int_lt(n, (int)size);
	strcpy(at.sun_path + 1, name);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
	    strlen(name))), 0);
	return fd;
}

/* The environment, less what a service manager set for us. */
static void
make_environment(char *out[ENV_MAX], char *notify)
{
	static const char *const out_of[] = { "NOTIFY_SOCKET=",
		"JOURNAL_STREAM=", "RUNTIME_DIRECTORY=", "HALO_" };
	int n = 0;

	for (char **v = environ; *v != NULL && n < ENV_MAX - 2; v++) {
		bool keep = true;

		for (size_t i = 0; i < sizeof(out_of) / sizeof(*out_of); i++)
			keep &= strncmp(*v, out_of[i], strlen(out_of[i])) != 0;
		if (keep)
			out[n++] = *v;
	}
	out[n++] = notify;
	out[n] = NULL;
}

void
process_start(struct process *p, const char *dir, const char *name,
    const char *const args[])
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	char notify[64], *env[ENV_MAX], *argv[PROCESS_ARGS_MAX + 1];
	sigset_t none;
	size_t n = 0;

	for (; args[n] != NULL; n++) {
		ck_assert_uint_lt(n, PROCESS_ARGS_MAX);
		argv[n] = strdup(args[n]);
	}
	argv[n] = NULL;
	*p = (struct process){ .notify = open_notify(notify, sizeof(notify)) };
	snprintf(p->log, sizeof(p->log), "%s/%s.log", dir, name);
	make_environment(env, notify);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null",
	    O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, p->log,
	    O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	ck_assert_int_eq(posix_spawn(&p->pid, argv[0], &files, &attr, argv,
	    env), 0);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	while (n > 0)
		free(argv[--n]);
}

/* Print the log of a process that did not do what it should. */
static void
show_log(const struct process *p)
{
	char line[512];
	FILE *fp = fopen(p->log, "r");

	while (fp != NULL && fgets(line, sizeof(line), fp) != NULL)
		fprintf(stderr, "    %s", line);
	if (fp != NULL)
		fclose(fp);
}

static int
reap(struct process *p, int status)
{
	p->pid = 0;
	close(p->notify);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void
process_ready(struct process *p)
{
	int64_t end = clock_ms() + PROCESS_READY_MS;
	struct pollfd fd = { .fd = p->notify, .events = POLLIN };
	char state[512];
	int status;

	while (clock_ms() < end) {
		if (poll(&fd, 1, 20) == 1) {
			ssize_t n = recv(p->notify, state, sizeof(state) - 1, 0);

			state[n > 0 ? n : 0] = '\0';
			if (strstr(state, "READY=1") != NULL)
				return;
		}
		if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
			status = reap(p, status);
			show_log(p);
			ck_abort_msg("it ended with %d before it was ready",
			    status);
		}
	}
	show_log(p);
	process_end(p, SIGKILL, PROCESS_END_MS);
	ck_abort_msg("it did not become ready");
}

/* How many lines of the log contain text; -1: there is no log. */
static int
count_lines(const struct process *p, const char *text)
{
	FILE *fp = fopen(p->log, "r");
	char line[1024];
	int n = 0;

	if (fp == NULL)
		return -1;
	while (fgets(line, sizeof(line), fp) != NULL)
		n += strstr(line, text) != NULL;
	fclose(fp);
	return n;
}

/* It has ended, be it by a signal: then its status says nothing of what a sanitizer
 * found before. */
static void
check_sanitizers(const struct process *p)
{
	if (count_lines(p, "Sanitizer: ") <= 0)
		return;
	show_log(p);
	ck_abort_msg("a sanitizer found something");
}

int
process_wait(struct process *p, int timeout_ms)
{
	int64_t end = clock_ms() + timeout_ms;
	char state[512];
	int status;

	ck_assert_int_gt(p->pid, 0);
	while (waitpid(p->pid, &status, WNOHANG) == 0) {
		/* A manager that does not read blocks who tells it much. */
		while (recv(p->notify, state, sizeof(state), MSG_DONTWAIT) > 0)
			;
		if (clock_ms() > end) {
			kill(p->pid, SIGKILL);
			waitpid(p->pid, &status, 0);
			reap(p, status);
			show_log(p);
			ck_abort_msg("it was still there after %d ms",
			    timeout_ms);
		}
		usleep(2000);
	}
	status = reap(p, status);
	check_sanitizers(p);
	return status;
}

int
process_end(struct process *p, int sig, int timeout_ms)
{
	ck_assert_int_gt(p->pid, 0);
	kill(p->pid, sig);
	return process_wait(p, timeout_ms);
}

void
process_abandon(struct process *p)
{
	if (p->pid == 0)
		return;
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	close(p->notify);
	p->pid = 0;
}

static void
read_file(const char *path, char *text, size_t size)
{
	FILE *fp = fopen(path, "r");
	size_t n = fp != NULL ? fread(text, 1, size - 1, fp) : 0;

	text[n] = '\0';
	if (fp != NULL)
		fclose(fp);
}

int
process_run(const char *dir, const char *const args[], char *text,
    size_t size)
{
	struct process p;
	int status;

	process_start(&p, dir, "run", args);
	status = process_wait(&p, RUN_MS);
	read_file(p.log, text, size);
	unlink(p.log);
	return status;
}

bool
process_logged(const struct process *p, const char *text)
{
	static char log[1 << 18];

	read_file(p->log, log, sizeof(log));
	return strstr(log, text) != NULL;
}

int
process_log_lines(const struct process *p, const char *text)
{
	int n = count_lines(p, text);

	ck_assert_int_ge(n, 0);
	return n;
}

int
process_get(int port, const char *path, char *text, size_t size)
{
	struct sockaddr_in at = loopback(port);
	struct timeval limit = { .tv_sec = PROCESS_PATIENCE_MS / 1000 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t len = 0;
	ssize_t n;
	int status = 0;

	text[0] = '\0';
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0) {
		dprintf(fd, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
		while (len < size - 1 &&
		    (n = recv(fd, text + len, size - 1 - len, 0)) > 0)
			len += (size_t)n;
		text[len] = '\0';
		if (len > 12 && strncmp(text, "HTTP/1.", 7) == 0)
			status = atoi(text + 9);
	}
	close(fd);
	return status;
}

int
process_call(struct bus_client *c, unsigned type, json_t *body, json_t **obj,
    struct err *e)
{
	struct frame f = { .type = type, .obj = body }, reply = { 0 };
	struct err mine;
	int r;

	ck_assert_ptr_nonnull(body);
	r = bus_call(c, &f, &reply, PROCESS_PATIENCE_MS, e != NULL ? e : &mine);
	frame_free(&f);
	if (r == 0 && obj != NULL)
		*obj = json_incref(reply.obj);
	if (r == 0)
		frame_free(&reply);
	return r;
}

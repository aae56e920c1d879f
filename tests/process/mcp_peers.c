#include <arpa/inet.h>
#include <check.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus.h"
#include "decode.h"
#include "mcp_peers.h"
#include "unit.h"

static const char *dir;
static pid_t worker, gateway;
static int gateway_fd;

static void
on_request(void *arg, const struct frame *request, struct frame *reply)
{
	struct err e;

	(void)arg;
	switch (request->type) {
	case UNIT_TYPE_health:
		reply->type = UNIT_TYPE_health_is;
		reply->obj = json_pack("{s:s, s:s, s:b, s:s, s:i}", "unit",
		    "decode", "boot", "0123456789abcdef", "ready", 1,
		    "version", "0.1.0", "uptime_ms", 5000);
		return;
	case UNIT_TYPE_stats:
		reply->type = UNIT_TYPE_stats_are;
		reply->obj = json_pack("{s:s, s:{}, s:[{s:s, s:i, s:i, s:i}]}",
		    "unit", "decode", "values", "kernels", "name", "head",
		    "calls", 2, "ns", 4000, "bytes", 8000);
		return;
	case DECODE_TYPE_model_info:
		reply->type = DECODE_TYPE_model_info_is;
		reply->obj = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i,"
		    " s:i, s:i, s:i, s:i, s:i, s:s}", "id", "halo-demo",
		    "architecture", "bitnet-b1.58", "format", "ternary",
		    "backend", "cpu", "chat_template", "bitnet", "n_ctx", 2048,
		    "n_ctx_train", 4096, "n_vocab", 128, "n_params", 1000000,
		    "size_bytes", 300000, "n_slots", 4, "created", 0,
		    "fingerprint", "00ff");
		return;
	default:
		err_set(&e, ERR_BAD_MESSAGE, "no such request");
		frame_set_error(reply, &e);
	}
}

/* A child that ends with this process; up is written to once it is ready. */
static pid_t
play(void (*part)(int up))
{
	int up[2];
	pid_t pid;
	char c;

	ck_assert_int_eq(pipe(up), 0);
	if ((pid = fork()) == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		part(up[1]);
		_exit(1);
	}
	close(up[1]);
	ck_assert_int_eq(read(up[0], &c, 1), 1);
	close(up[0]);
	return pid;
}

static void
play_worker(int up)
{
	struct bus_server *s;
	struct err e;

	if (bus_serve(&s, dir, "decode", 2, on_request, NULL, &e) != 0)
		_exit(1);
	if (write(up, "", 1) == 1)
		pause();
}

int
mcp_peers_listen(int *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, n), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

/* What the gateway says of itself; anything else is a redirect, which must not
 * be followed. */
static const char *
canned(const char *request)
{
	if (strncmp(request, "GET /v1/models ", 15) == 0)
		return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
		    "{\"object\":\"list\",\"data\":[{\"id\":\"from-gateway\","
		    "\"object\":\"model\",\"meta\":{\"n_ctx\":512}}]}";
	if (strncmp(request, "GET /readyz?verbose ", 20) == 0)
		return "HTTP/1.1 503 Service Unavailable\r\n"
		    "Connection: close\r\n\r\n{\"status\":\"unavailable\","
		    "\"units\":[{\"unit\":\"decode\",\"ready\":false,"
		    "\"reason\":\"it sleeps\",\"since\":"
		    "\"2026-01-02T03:04:05Z\"}]}";
	return "HTTP/1.1 302 Found\r\nLocation: /v1/models\r\n\r\n";
}

static void
play_gateway(int up)
{
	char request[2048];
	const char *answer;
	ssize_t n;

	if (write(up, "", 1) != 1)
		return;
	for (;;) {
		int fd = accept(gateway_fd, NULL, NULL);

		if (fd < 0)
			return;
		if ((n = recv(fd, request, sizeof(request) - 1, 0)) > 0) {
			request[n] = '\0';
			answer = canned(request);
			send(fd, answer, strlen(answer), MSG_NOSIGNAL);
		}
		close(fd);
	}
}

void
mcp_peers_start(const char *runtime_dir, int *gateway_port)
{
	dir = runtime_dir;
	worker = play(play_worker);
	gateway_fd = mcp_peers_listen(gateway_port);
	gateway = play(play_gateway);
	close(gateway_fd);
}

void
mcp_peers_stop(void)
{
	kill(worker, SIGKILL);
	kill(gateway, SIGKILL);
	waitpid(worker, NULL, 0);
	waitpid(gateway, NULL, 0);
}

#include "web.h"
#include "web_client.h"

/*
 * Pieces that are written without waiting: whatever the client's socket takes of
 * them, the stream is one.
 */
enum { N_PIECES = 4000, PIECE = 5003 };	/* 138b */

static struct web *web;
static int n_at_once, n_waited;

static void
make_piece(char *text, int i)
{
	memset(text, 'a' + i % 26, PIECE);
	text[PIECE - 1] = '\n';
}

/* As the gateway does it: at once, or else by the handler's thread. */
static void
get_pieces(struct web_request *rq, void *arg)
{
	char text[PIECE];

	(void)arg;
	ck_assert(!web_stream_try(rq, "x", 1));	/* it has not begun */
	web_stream_begin(rq, 200, "text/plain");
	for (int i = 0; i < N_PIECES; i++) {
		make_piece(text, i);
		if (web_stream_try(rq, text, sizeof(text))) {
			n_at_once++;
			continue;
		}
		n_waited++;
		if (!web_stream_write(rq, text, sizeof(text)))
			break;
	}
	web_stream_end(rq, true);
}

static const struct web_route routes[] = {
	{ "GET", "/pieces", get_pieces, 0, WEB_PUBLIC },
	{ 0 }
};

static const struct web_config config = { .bind = "127.0.0.1:0",
	.n_threads = 4, .routes = routes, .request_id_prefix = "req_" };

/* All of it, a little at a time. */
static size_t
read_slowly(int fd, char *text, size_t size)
{
	size_t n = 0, part = 300;
	ssize_t k;

	usleep(300000);		/* until its socket is full */
	while (n < size && (k = recv(fd, text + n, n + part < size ? part :
	    size - n, 0)) > 0) {
		n += (size_t)k;
		part = part * 7 % 65521 + 1;
	}
	return n;
}

START_TEST(a_stream_is_whole_whoever_wrote_it)
{
	static char text[N_PIECES * (PIECE + 16) + 65536], want[PIECE];
	static const char ask[] = "GET /pieces HTTP/1.1\r\nHost: localhost\r\n\r\n";
	char size[16];
	const char *at;
	int fd = client_connect(web_port(web));
	size_t n;

	ck_assert(client_send(fd, ask, sizeof(ask) - 1));
	n = read_slowly(fd, text, sizeof(text));
	close(fd);
	ck_assert_int_gt(n_at_once, 10);
	ck_assert_int_gt(n_waited, 0);
	at = strstr(text, "\r\n\r\n");
	ck_assert_ptr_nonnull(at);
	at += 4;
	snprintf(size, sizeof(size), "%x\r\n", PIECE);
	for (int i = 0; i < N_PIECES; i++, at += strlen(size) + PIECE + 2) {
		make_piece(want, i);
		ck_assert_msg(strncmp(at, size, strlen(size)) == 0, "chunk %d", i);
		ck_assert_msg(memcmp(at + strlen(size), want, PIECE) == 0, "piece %d", i);
	}
	ck_assert_uint_eq((size_t)(at - text) + 5, n);
	ck_assert_str_eq(at, "0\r\n\r\n");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("web_stream");
	TCase *t = tcase_create("web_stream");
	SRunner *r = srunner_create(s);
	struct err e;
	int failed;

	if (web_start(&web, &config, &e) != 0) {
		fprintf(stderr, "%s\n", e.text);
		return EXIT_FAILURE;
	}
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_stream_is_whole_whoever_wrote_it);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	web_stop(web, 1000);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

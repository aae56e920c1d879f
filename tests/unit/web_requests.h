#ifndef TESTS_WEB_REQUESTS_H
#define TESTS_WEB_REQUESTS_H

#include <stddef.h>

/*
 * Requests that were made to be misread, each with the one status it deserves.
 * The routes they are for stand in test_web_hostile.c.
 */
#define H "Host: localhost\r\n"
#define X "X-Evil: 1\r\n"
#define T8(s) s s s s s s s s
#define R(text, status) { text, sizeof(text) - 1, status }

static const struct {
	const char *bytes;
	size_t n;
	int status;		/* 0: closed without an answer */
} requests[] = {
	/* good ones, so that the others fail for the reason they should */
	R("GET /info HTTP/1.1\r\n" H "\r\n", 200),
	R("\r\nGET /info HTTP/1.1\r\n" H "\r\n", 200),
	R("HEAD /info HTTP/1.1\r\n" H "\r\n", 200),
	R("GET /info?a=%00 HTTP/1.1\r\n" H "\r\n", 200),
	R("GET /info HTTP/1.0\r\n" H "\r\n", 200),
	R("GET /item/x HTTP/1.1\r\n" H "\r\n", 200),
	R("GET /key HTTP/1.1\r\n" H "Authorization: Bearer secret\r\n\r\n", 200),
	R("GET /key HTTP/1.1\r\n" H "x-api-key: secret\r\n\r\n", 200),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nab", 200),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 200),
	R("POST /echo HTTP/1.1\r\n" H "\r\n", 200),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\na\0", 200),
	R("POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
	    "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", 200),
	R("POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
	    "1\r\na\r\n0\r\nTrailer: x\r\n\r\n", 200),
	R("POST /echo HTTP/1.1\r\n" H "Expect: 100-continue\r\n\r\n", 200),
	R("GET /info HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
	    "0\r\n\r\n", 200),
	R("GET /info HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 200),
	/* only the first of a pipelined pair is served */
	R("GET /info HTTP/1.1\r\n" H "\r\nGET /none HTTP/1.1\r\n" H "\r\n",
	    200),
	/* the request line */
	R("", 0), R("\r\n\r\n", 400), R("G", 400), R("GET", 400),
	R("GET /info\r\n\r\n", 400), R("GET /info HTTP/1.1", 400),
	R("GET /info HTTP/1.1\r\n" H, 400),
	R("GET  /info HTTP/1.1\r\n" H "\r\n", 400),
	R("GET /info  HTTP/1.1\r\n" H "\r\n", 400),
	R("GET\t/info HTTP/1.1\r\n" H "\r\n", 400),
	R("GET /info HTTP/1.1 \r\n" H "\r\n", 400),
	R("GET /x a HTTP/1.1\r\n" H X "\r\n", 400),
	R("GET /info HTTP/0.9\r\n" H X "\r\n", 505),
	R("GET /info HTTP/1.2\r\n" H "\r\n", 505),
	R("GET /info HTTP/2.0\r\n" H "\r\n", 505),
	R("GET /info HTTP/1.1x\r\n" H "\r\n", 505),
	R("GET /info http/1.1\r\n" H "\r\n", 400),
	R("GET /info FTP/1.1\r\n" H "\r\n", 400),
	R("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
	R("FOO /info HTTP/1.1\r\n" H "\r\n", 400),
	R("get /info HTTP/1.1\r\n" H "\r\n", 400),
	R("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
	R("GET /info HTTP/1.1\r\n" H "A: \0\r\n\r\n", 400),
	R("GET /in\0fo HTTP/1.1\r\n" H "\r\n", 400),
	R("GET /in\x01" "fo HTTP/1.1\r\n" H "\r\n", 400),
	R("GET /caf\xc3\xa9 HTTP/1.1\r\n" H "\r\n", 400),
	R("\0\0\0\0\r\n\r\n", 400),
	/* lines */
	R("GET /info HTTP/1.1\n" H "\r\n", 400),
	R("GET /info HTTP/1.1\nHost: localhost\n\n", 400),
	R("GET /info HTTP/1.1\r\nHost: localhost\n\r\n", 400),
	R("GET /info HTTP/1.1\r\nHost: localhost\nA: b\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\nHost: localhost\rA: b\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H " folded\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H "A: b\r\n\tfolded\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H "no colon\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H ": no name\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H "\x80: a\r\nB: c\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H "A : b\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H "A :\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H "A:\r\n\r\n", 200),
	R("GET /info HTTP/1.1\r\n " H "\r\n", 400),
	R("POST /echo HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n"
	    "0\r\n\r\n", 400),
	/* Host and Origin */
	R("GET /info HTTP/1.1\r\n\r\n", 400),
	R("GET /info HTTP/1.0\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\nHost:\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H H "\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H "host: evil.example\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\nHost: localhost:x\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\nHost: localhost/\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
	R("GET /info HTTP/1.1\r\nHost: evil.example\r\n"
	    "Origin: http://localhost\r\n\r\n", 421),
	R("GET /info HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 421),
	R("GET /none HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
	R("GET /info HTTP/1.1\r\n" H "Origin: https://ui.example\r\n\r\n", 200),
	R("GET /info HTTP/1.1\r\n" H "Origin: http://evil.example\r\n\r\n", 403),
	R("GET /info HTTP/1.1\r\n" H "Origin: null\r\n\r\n", 403),
	R("GET /info HTTP/1.1\r\n" H "Origin:\r\n\r\n", 403),
	R("GET /info HTTP/1.1\r\n" H "Origin: https://ui.example\r\n"
	    "Origin: http://evil.example\r\n\r\n", 400),
	R("OPTIONS /info HTTP/1.1\r\n" H "Origin: http://evil.example\r\n"
	    "Access-Control-Request-Method: GET\r\n\r\n", 403),
	/* length and coding */
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 2\r\n"
	    "Content-Length: 2\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 2\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 2, 2\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: +2\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: -2\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 2x\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 0x2\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: two\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length:\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 9223372036854775808"
	    "\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 18446744073709551618"
	    "\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 9999999999\r\n\r\nab",
	    413),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 4097\r\n\r\nab", 413),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 4096\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nab", 400),
	R("POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\n", 400),
	R("GET /info HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nab", 413),
	R("GET /info HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
	    "2\r\nab\r\n0\r\n\r\n", 413),
#define TE(coding, body) "POST /echo HTTP/1.1\r\n" H \
	"Transfer-Encoding: " coding "\r\n\r\n" body
	R(TE("identity", ""), 400), R(TE("gzip", "0\r\n\r\n"), 400),
	R(TE("gzip, chunked", "0\r\n\r\n"), 400),
	R(TE("chunked, identity", "0\r\n\r\n"), 400),
	R(TE("xchunked", "0\r\n\r\n"), 400),
	R(TE("chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), 400),
	R("POST /echo HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
	    "0\r\n\r\n", 400),
	R(TE("chunked", ""), 400), R(TE("chunked", "5"), 400),
	R(TE("chunked", "5\r\nab"), 400), R(TE("chunked", "1\r\na"), 400),
	R(TE("chunked", "1\r\nab\r\n0\r\n\r\n"), 400),
	R(TE("chunked", "x\r\n\r\n0\r\n\r\n"), 400),
	R(TE("chunked", "-1\r\na\r\n0\r\n\r\n"), 400),
	R(TE("chunked", "0x1\r\na\r\n0\r\n\r\n"), 400),
	R(TE("chunked", "1;ext=1\r\na\r\n0\r\n\r\n"), 400),
	R(TE("chunked", " 1\r\na\r\n0\r\n\r\n"), 400),
	R(TE("chunked", "1\na\n0\n\n"), 400),
	R(TE("chunked", "ffffffffffffffff\r\nabc\r\n0\r\n\r\n"), 400),
	R(TE("chunked", "8000000000000000\r\nabc\r\n0\r\n\r\n"), 400),
	R(TE("chunked", "7fffffffffffffff\r\nabc"), 400),
	R(TE("chunked", "10000000000000001\r\na\r\n0\r\n\r\n"), 400),
	R(TE("chunked", T8(T8("0")) "1\r\na\r\n0\r\n\r\n"), 400),
	R("POST /echo HTTP/1.1\r\n" H "Expect: a miracle\r\n\r\n", 417),
	/* the path */
	R("GET / HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /INFO HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /infoX HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /info/ HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /info/x HTTP/1.1\r\n" H "\r\n", 404),
	R("GET //info HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /./info HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /a/../info HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /..%2finfo HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /inf%6f HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /info%00 HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /info%0d%0aX-Evil:%201 HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /info;x HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /info# HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /item/ HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /item/x/y HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /item/%78 HTTP/1.1\r\n" H "\r\n", 200),
	R("GET /item/%2f%20 HTTP/1.1\r\n" H "\r\n", 200),
	R("GET /ite%6d/x HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /item%2fx HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /item/%78/y HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /item/%7 HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /item/%00 HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /item/%0d%0aX-Evil:%201 HTTP/1.1\r\n" H "\r\n", 404),
	R("GET /item/%ff HTTP/1.1\r\n" H "\r\n", 404),
	R("GET info HTTP/1.1\r\n" H "\r\n", 400),
	R("GET ../info HTTP/1.1\r\n" H "\r\n", 400),
	R("GET \\info HTTP/1.1\r\n" H "\r\n", 400),
	R("OPTIONS * HTTP/1.1\r\n" H "\r\n", 0),
	R("GET http://evil.example/info HTTP/1.1\r\n" H "\r\n", 0),
	R("CONNECT localhost:80 HTTP/1.1\r\n" H "\r\n", 400),
	/* the method and the key */
	R("POST /info HTTP/1.1\r\n" H "\r\n", 405),
	R("GET /echo HTTP/1.1\r\n" H "\r\n", 405),
	R("HEAD /echo HTTP/1.1\r\n" H "\r\n", 405),
	R("DELETE /info HTTP/1.1\r\n" H "\r\n", 405),
	R("TRACE /info HTTP/1.1\r\n" H X "\r\n", 400),
	R("OPTIONS /echo HTTP/1.1\r\n" H "\r\n", 405),
	R("OPTIONS /info HTTP/1.1\r\n" H "\r\n", 204),
	R("GET /key HTTP/1.1\r\n" H "\r\n", 401),
	R("HEAD /key HTTP/1.1\r\n" H "\r\n", 401),
	R("GET /key HTTP/1.1\r\n" H "Authorization:\r\n\r\n", 401),
	R("GET /key HTTP/1.1\r\n" H "Authorization: Bearer\r\n\r\n", 401),
	R("GET /key HTTP/1.1\r\n" H "Authorization: Bearer secre\r\n\r\n", 401),
	R("GET /key HTTP/1.1\r\n" H "Authorization: Bearer secrets\r\n\r\n",
	    401),
	R("GET /key HTTP/1.1\r\n" H "Authorization: Basic secret\r\n\r\n", 401),
	R("GET /key HTTP/1.1\r\n" H "Authorization: secret\r\n\r\n", 401),
	R("GET /key?api_key=secret HTTP/1.1\r\n" H "\r\n", 401),
	R("GET /key HTTP/1.1\r\n" H "Authorization: Bearer secret\r\n"
	    "Authorization: Bearer secret\r\n\r\n", 400),
	/* JSON */
#define JSON(type, n, body) "POST /json HTTP/1.1\r\n" H type \
	"Content-Length: " n "\r\n\r\n" body
	R(JSON("", "2", "{}"), 200),
	R(JSON("Content-Type: application/x-www-form-urlencoded\r\n", "2",
	    "{}"), 200),
	R(JSON("Content-Type: application/json\r\n", "0", ""), 400),
	R(JSON("Content-Type: application/json\r\n", "1", "{"), 400),
	R(JSON("Content-Type: application/json\r\n", "13", "{\"a\":1,\"a\":1}"),
	    400),
	R(JSON("Content-Type: application/json\r\n", "3", "{}\0"), 400),
	R(JSON("Content-Type: application/json\r\n", "3", "{}x"), 400),
	R(JSON("Content-Type: application/json\r\n", "4", "\"\xff\xfe\""), 400),
	R(JSON("", "2", "{x"), 400), R(JSON("", "3", "a=1"), 415),
	R(JSON("Content-Type: text/plain\r\n", "2", "{}"), 415),
	R(JSON("Content-Type: multipart/form-data; boundary=x\r\n", "2", "{}"),
	    415),
	R(JSON("Content-Encoding: gzip\r\n", "2", "{}"), 415),
	R(JSON("Content-Type: application/json\r\nContent-Type: text/plain\r\n",
	    "2", "{}"), 400),
};

#endif

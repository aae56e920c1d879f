/*
 * A key's digest goes no further than this file.  What it is needed for gets a
 * digest of its own, of a label and the key's: sha256("1bit owner", digest), and
 * so on.
 */
#include "caller.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"

/* The first that is there names the session.  Ours are checked; what other
 * clients have for a name may be anything and is hashed if it is no name. */
static const char own_header[] = "X-1bit-Session";
static const char *const aliases[] = { "X-Session-ID", "X-Conversation-Id",
	"X-OpenWebUI-Chat-Id", "session-id" };
static const char *const members[] = { "session_id", "prompt_cache_key" };

static const uint64_t mask53 = (1ULL << 53) - 1;

bool
caller_is_name(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-");

	return n > 0 && n <= CALLER_SESSION_MAX && name[n] == '\0';
}

static void
hex(const uint8_t digest[SHA256_SIZE], char *out)
{
	for (int i = 0; i < SHA256_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* Of label, the caller's key, and text. */
static void
derive(const char *label, const struct caller *c, const char *text,
    uint8_t out[SHA256_SIZE])
{
	struct sha256 h;

	sha256_init(&h);
	sha256_add(&h, label, strlen(label) + 1);
	sha256_add(&h, c->key.digest, SHA256_SIZE);
	sha256_add(&h, text, strlen(text));
	sha256_finish(&h, out);
}

/* 1 to 2^53 - 1. */
static int64_t
number(const char *label, const struct caller *c, const char *text)
{
	uint8_t digest[SHA256_SIZE];
	uint64_t x;

	derive(label, c, text, digest);
	memcpy(&x, digest, sizeof(x));
	return (int64_t)((x & mask53) | 1);
}

void
caller_session_key(const struct caller *c, const char *name, char *key)
{
	uint8_t digest[SHA256_SIZE];

	derive("1bit session", c, name, digest);
	hex(digest, key);
}

/* An alias: as it is, or its hash. */
static void
take_alias(struct caller *c, const char *value)
{
	uint8_t digest[SHA256_SIZE];
	char text[2 * SHA256_SIZE + 1];

	if (caller_is_name(value)) {
		strcpy(c->session_name, value);
		return;
	}
	sha256(value, strlen(value), digest);
	hex(digest, text);
	snprintf(c->session_name, sizeof(c->session_name), "hash:%.32s", text);
}

static int
from_body(struct caller *c, const json_t *body, struct err *e)
{
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const json_t *v = json_object_get(body, members[i]);

		if (v == NULL || json_is_null(v))
			continue;
		if (!json_is_string(v))
			return err_set_param(e, ERR_RANGE, members[i],
			    "'%s' is not a string", members[i]);
		if (json_string_length(v) > 0 && c->session_name[0] == '\0') {
			take_alias(c, json_string_value(v));
			c->by_cache_key = i > 0;
		}
	}
	return 0;
}

static int
find_session(struct caller *c, struct web_request *rq, const json_t *body,
    struct err *e)
{
	const char *own = web_header(rq, own_header), *value;

	if (own == NULL)
		own = web_header(rq, "X-1bit-halo-Session");
	if (own != NULL && !caller_is_name(own))
		return err_set_param(e, ERR_RANGE, own_header,
		    "%s is not 1 to %d of A-Z a-z 0-9 . _ : -", own_header,
		    CALLER_SESSION_MAX);
	if (own != NULL)
		strcpy(c->session_name, own);
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (c->session_name[0] == '\0' &&
		    (value = web_header(rq, aliases[i])) != NULL &&
		    value[0] != '\0')
			take_alias(c, value);
	if (body != NULL && from_body(c, body, e) != 0)
		return ERR_RANGE;
	if (c->session_name[0] != '\0')
		caller_session_key(c, c->session_name, c->session);
	return 0;
}

/* Who asks for several others, with one key, tells them apart by this. */
static int
find_salt(struct caller *c, const json_t *body, struct err *e)
{
	const json_t *v = json_object_get(body, "cache_salt");

	if (v == NULL || json_is_null(v))
		return 0;
	if (json_string_length(v) == 0)
		return err_set_param(e, ERR_RANGE, "cache_salt",
		    "'cache_salt' is not a string, or it is empty");
	c->salt = number("1bit salt", c, json_string_value(v));
	return 0;
}

static int
find_terms(struct caller *c, struct web_request *rq, struct err *e)
{
	const char *ttl = web_header(rq, "X-1bit-Session-TTL");
	const char *busy = web_header(rq, "X-1bit-Session-Busy");
	size_t n = ttl == NULL ? 0 : strlen(ttl);
	long s = n > 0 && n <= 7 ? strtol(ttl, NULL, 10) : 0;

	if (ttl != NULL && (strspn(ttl, "0123456789") != n || s < 1 ||
	    s > CALLER_TTL_MAX_S))
		return err_set_param(e, ERR_RANGE, "X-1bit-Session-TTL",
		    "X-1bit-Session-TTL is not a number of seconds from 1 to "
		    "%d", CALLER_TTL_MAX_S);
	c->ttl_ms = 1000 * (int64_t)s;
	if (busy != NULL && strcmp(busy, "fail") != 0 &&
	    strcmp(busy, "wait") != 0)
		return err_set_param(e, ERR_RANGE, "X-1bit-Session-Busy",
		    "X-1bit-Session-Busy is neither wait nor fail");
	c->busy_fails = busy != NULL && strcmp(busy, "fail") == 0;
	return 0;
}

static int64_t
rate(int64_t own, int64_t by_default)
{
	return own == AUTH_DEFAULT ? by_default : own;
}

struct rates_want
caller_want(const struct gateway *gw, const struct auth_key *key)
{
	struct rates_want w = {
		.rpm = rate(key->rpm, gw->options.key_rpm),
		.tpm = rate(key->tpm, gw->options.key_tpm),
	};

	memcpy(w.id, key->digest, SHA256_SIZE);
	return w;
}

/* The key's come first: they are what is shown. */
static void
find_wants(struct caller *c)
{
	const struct gateway_options *o = &c->gw->options;
	struct rates_want w = caller_want(c->gw, &c->key);

	if (w.rpm > 0 || w.tpm > 0)
		c->wants[c->n_wants++] = w;
	if (c->session[0] == '\0' || (o->session_rpm == 0 &&
	    o->session_tpm == 0))
		return;
	w.rpm = o->session_rpm;
	w.tpm = o->session_tpm;
	derive("1bit limit", c, c->session_name, w.id);
	c->wants[c->n_wants++] = w;
}

int
caller_begin(struct gateway *gw, struct web_request *rq, const json_t *body,
    struct caller *c, struct err *e)
{
	uint8_t digest[SHA256_SIZE];
	int r;

	*c = (struct caller){ .gw = gw, .place = -1,
		.request = web_request_id(rq), .trace = web_traceparent(rq) };
	/* It entered, but the keys may have been read again since. */
	if (!auth_find(&gw->auth, web_bearer(rq), &c->key))
		return err_set(e, ERR_KEY, "the key is not valid any more");
	c->admin = c->key.admin;
	/* Also without keys: "" is everybody's. */
	derive("1bit owner", c, "", digest);
	hex(digest, c->owner);
	if (c->key.name[0] == '\0') {
		c->admin = web_is_loopback(gw->options.bind);
	} else {
		c->client = number("1bit client", c, "");
		if (!gw->options.share_prefixes)
			c->salt = number("1bit salt", c, "");
	}
	if ((r = find_session(c, rq, body, e)) != 0 ||
	    (r = find_salt(c, body, e)) != 0 ||
	    (r = find_terms(c, rq, e)) != 0)
		return r;
	find_wants(c);
	return 0;
}

void
caller_generate(const struct caller *c, bool first, json_t *generate)
{
	json_object_set_new(generate, "client", json_integer(c->client));
	json_object_set_new(generate, "cache_salt", json_integer(c->salt));
	json_object_set_new(generate, "request", json_string(c->request));
	if (c->trace != NULL)
		json_object_set_new(generate, "trace", json_string(c->trace));
	if (c->session[0] == '\0' || !first)
		return;
	json_object_set_new(generate, "session", json_string(c->session));
	json_object_set_new(generate, "session_owner", json_string(c->owner));
	json_object_set_new(generate, "session_name",
	    json_string(c->session_name));
	json_object_set_new(generate, "session_ttl_ms",
	    json_integer(c->ttl_ms));
	if (c->busy_fails)
		json_object_set_new(generate, "session_busy",
		    json_string("fail"));
}

void
caller_accepted(const struct caller *c, struct web_request *rq,
    const char *session_state, int64_t n_cached)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)n_cached);
	web_set_header(rq, "X-1bit-Cached-Tokens", text);
	if (c->session[0] == '\0')
		return;
	web_set_header(rq, own_header, c->session_name);
	if (session_state[0] != '\0')
		web_set_header(rq, "X-1bit-Session-State", session_state);
}

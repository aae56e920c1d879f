#ifndef TESTS_OPENAI_WORLD_H
#define TESTS_OPENAI_WORLD_H

#include <check.h>
#include <stdio.h>

#include "openai_request.h"

/* Requests from their text. */
#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define N_ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static json_t *body;		/* of the last request */

static int
parse(bool chat, const char *text, struct openai_request *q, struct err *e)
{
	json_decref(body);
	body = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(body);
	*e = (struct err){ 0 };
	return chat ? openai_parse_chat(body, q, e) :
	    openai_parse_completion(body, q, e);
}

/* With a model and a user's message, or a prompt, before these members. */
static int
parse_members(bool chat, const char *members, struct openai_request *q,
    struct err *e)
{
	char text[4096];

	snprintf(text, sizeof(text), "{\"model\":\"m\",%s%s%s}",
	    chat ? USER : "\"prompt\":\"hi\"", members[0] != '\0' ? "," : "",
	    members);
	return parse(chat, text, q, e);
}

/* What the worker gets of answer k to prompt p; the caller's. */
static json_t *
generate(const struct openai_request *q, size_t p, int k)
{
	json_t *g = openai_generate(q, p, k);

	ck_assert_ptr_nonnull(g);
	return g;
}

#endif

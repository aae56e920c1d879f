/*
 * Requests at the edges of what docs/http-api.md allows, with the real worker and
 * the demo model.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "api_peer.h"

static const char completions[] = "/v1/completions";

#define M "\"model\":\"halo-demo\","

START_TEST(a_name_in_a_path_may_be_escaped)
{
	json_t *plain = api_get("/v1/models/halo-demo", 200);
	json_t *escaped = api_get("/v1/models/halo%2Ddemo", 200);
	json_t *other = api_get("/v1/models/org%2Fa%20b", 404);

	ck_assert(json_equal(plain, escaped));
	ck_assert_str_eq(api_text(other, "error.code"), "model_not_found");
	ck_assert_ptr_nonnull(strstr(api_text(other, "error.message"),
	    "'org/a b'"));
	json_decref(plain);
	json_decref(escaped);
	json_decref(other);
}
END_TEST

/* What is too long to be any value is not as good as absent. */
START_TEST(a_query_that_cannot_be_right_is_refused)
{
	static const char *const queries[] = {
		"/v1/sessions?limit=99999999999", "/v1/sessions?limit=%",
		("/v1/sessions?after=0123456789012345678901234567890123456789012345"
		"678901234567890123456789"),
		"/v1/stream?id=chatcmpl-1&from=99999999999999999999",
		"/v1/stream?id=chatcmpl-1&index=%",
	};

	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
		json_decref(api_get(queries[i], 400));
}
END_TEST

START_TEST(a_delete_may_have_a_body)
{
	static const char *const paths[] = { "/v1/sessions/x", "/v1/stream?id=x" };
	struct http_client c;

	for (int i = 0; i < 2; i++) {
		http_send(&c, api_port, "DELETE", paths[i], "", "{}");
		http_rest(&c);
		ck_assert_int_eq(http_status(&c), 404);
		http_close(&c);
	}
}
END_TEST

/* A token of one blank each, which is more JSON than a message of the bus holds. */
START_TEST(tokens_that_do_not_fit_into_an_answer_are_refused)
{
	struct buf body = { 0 };
	json_t *v;

	buf_adds(&body, "{\"with_pieces\":true,\"content\":\"");
	for (int i = 0; i < 1 << 20; i++)
		buf_adds(&body, " ");
	buf_adds(&body, "\"}");
	v = api_ask("/tokenize", 400, body.data);
	ck_assert_str_eq(api_text(v, "error.param"), "content");
	ck_assert_ptr_nonnull(strstr(api_text(v, "error.message"), "in parts"));
	json_decref(v);
	buf_free(&body);
}
END_TEST

/* They are what a request has that does not say them. */
START_TEST(the_defaults_of_props_can_be_asked_for)
{
	json_t *props = api_get("/props", 200), *request, *said, *unsaid;
	char *body;

	request = json_deep_copy(api_at(props,
	    "default_generation_settings.params"));
	ck_assert_uint_gt(json_object_size(request), 15);
	json_object_del(request, "seed");	/* -1: another each time */
	json_object_update_new(request, json_pack("{s:s, s:s, s:i, s:i}", "model",
	    "halo-demo", "prompt", "Once upon", "seed", 5, "n_predict", 9));
	body = json_dumps(request, 0);
	said = api_ask(completions, 200, body);
	unsaid = api_ask(completions, 200, "{" M "\"prompt\":\"Once upon\","
	    "\"seed\":5,\"max_tokens\":9}");
	ck_assert(json_equal(api_at(said, "choices"), api_at(unsaid, "choices")));
	free(body);
	json_decref(props);
	json_decref(request);
	json_decref(said);
	json_decref(unsaid);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway edges");
	TCase *t = tcase_create("gateway edges");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_unchecked_fixture(t, api_start, api_stop);
	tcase_add_test(t, a_name_in_a_path_may_be_escaped);
	tcase_add_test(t, a_query_that_cannot_be_right_is_refused);
	tcase_add_test(t, a_delete_may_have_a_body);
	tcase_add_test(t, tokens_that_do_not_fit_into_an_answer_are_refused);
	tcase_add_test(t, the_defaults_of_props_can_be_asked_for);
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK);	/* bus.h: no fork */
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

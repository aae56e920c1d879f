/*
 * Every member of a request for embeddings, at its edges.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "openai_request.h"

static json_t *body;

static int
parse(const char *text, struct openai_embedding *q, struct err *e)
{
	json_decref(body);
	body = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(body);
	*e = (struct err){ 0 };
	return openai_parse_embedding(body, q, e);
}

#define HI "\"model\":\"m\",\"input\":\"hi\""

static const struct { const char *text, *inputs, *pooling; bool base64;
	int64_t dimensions; } good[] = {
	{ "{" HI "}", "[{\"prompt\":\"hi\"}]", "mean", false, 0 },
	{ "{" HI ",\"encoding_format\":\"float\",\"dimensions\":null,"
	  "\"user\":\"u\"}", "[{\"prompt\":\"hi\"}]", "mean", false, 0 },
	{ "{" HI ",\"encoding_format\":\"base64\",\"dimensions\":512,"
	  "\"pooling\":\"last\"}", "[{\"prompt\":\"hi\"}]", "last", true, 512 },
	{ "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}",
	  "[{\"prompt\":\"a\"},{\"prompt\":\"b\"}]", "mean", false, 0 },
	{ "{\"model\":\"m\",\"input\":[1,2]}", "[{\"prompt_ids\":[1,2]}]",
	  "mean", false, 0 },
	{ "{\"model\":\"m\",\"input\":[[1],[2,3]]}",
	  "[{\"prompt_ids\":[1]},{\"prompt_ids\":[2,3]}]", "mean", false, 0 },
};
enum { N_GOOD = sizeof(good) / sizeof(good[0]) };

START_TEST(takes_texts_and_ids_and_lists_of_either)
{
	struct openai_embedding q;
	struct err e;
	char *got;

	ck_assert_msg(parse(good[_i].text, &q, &e) == 0, "%s", e.text);
	got = json_dumps(q.inputs, JSON_COMPACT);
	ck_assert_str_eq(got, good[_i].inputs);
	ck_assert_str_eq(json_string_value(json_object_get(q.generate,
	    "pooling")), good[_i].pooling);
	ck_assert_int_eq(q.base64, good[_i].base64);
	ck_assert_int_eq(q.dimensions, good[_i].dimensions);
	free(got);
	openai_embedding_free(&q);
}
END_TEST

static const struct { const char *text; int code; const char *param; }
bad[] = {
	{ "[]", ERR_BAD_MESSAGE, "" },
	{ "{}", ERR_BAD_MESSAGE, "model" },
	{ "{\"model\":\"m\"}", ERR_BAD_MESSAGE, "input" },
	{ "{\"model\":\"m\",\"input\":null}", ERR_BAD_MESSAGE, "input" },
	{ "{\"model\":\"m\",\"input\":\"\"}", ERR_RANGE, "input" },
	{ "{\"model\":\"m\",\"input\":[]}", ERR_RANGE, "input" },
	{ "{\"model\":\"m\",\"input\":[\"a\",\"\"]}", ERR_RANGE, "input" },
	{ "{\"model\":\"m\",\"input\":[\"a\",2]}", ERR_RANGE, "input" },
	{ "{\"model\":\"m\",\"input\":[1,\"a\"]}", ERR_RANGE, "input" },
	{ "{\"model\":\"m\",\"input\":[[1],[]]}", ERR_RANGE, "input" },
	{ "{\"model\":\"m\",\"input\":[-1]}", ERR_RANGE, "input" },
	{ "{\"model\":\"m\",\"input\":[1048576]}", ERR_RANGE, "input" },
	{ "{\"model\":\"m\",\"input\":{}}", ERR_RANGE, "input" },
	{ "{\"model\":\"m\",\"input\":1}", ERR_RANGE, "input" },
	{ "{" HI ",\"encoding_format\":\"int8\"}", ERR_RANGE,
	  "encoding_format" },
	{ "{" HI ",\"encoding_format\":1}", ERR_RANGE, "encoding_format" },
	{ "{" HI ",\"dimensions\":0}", ERR_RANGE, "dimensions" },
	{ "{" HI ",\"dimensions\":-1}", ERR_RANGE, "dimensions" },
	{ "{" HI ",\"dimensions\":1.5}", ERR_RANGE, "dimensions" },
	{ "{" HI ",\"dimensions\":\"512\"}", ERR_RANGE, "dimensions" },
	{ "{" HI ",\"pooling\":\"max\"}", ERR_RANGE, "pooling" },
	{ "{" HI ",\"pooling\":true}", ERR_RANGE, "pooling" },
};
enum { N_BAD = sizeof(bad) / sizeof(bad[0]) };

START_TEST(refuses_and_names_the_member)
{
	struct openai_embedding q;
	struct err e;

	ck_assert_int_eq(parse(bad[_i].text, &q, &e), bad[_i].code);
	ck_assert_str_eq(e.param, bad[_i].param);
	ck_assert_str_ne(e.text, "");
	ck_assert(q.inputs == NULL && q.generate == NULL);
}
END_TEST

START_TEST(more_inputs_than_there_may_be_are_refused)
{
	struct openai_embedding q;
	json_t *list = json_array();
	struct err e;

	for (int i = 0; i < OPENAI_INPUTS_MAX; i++)
		json_array_append_new(list, json_string("a"));
	json_decref(body);
	body = json_pack("{s:s, s:o}", "model", "m", "input", list);
	ck_assert_int_eq(openai_parse_embedding(body, &q, &e), 0);
	openai_embedding_free(&q);
	json_array_append_new(list, json_string("a"));
	ck_assert_int_eq(openai_parse_embedding(body, &q, &e), ERR_RANGE);
	ck_assert_str_eq(e.param, "input");
}
END_TEST

static void
tear_down(void)
{
	json_decref(body);
	body = NULL;
}

int
main(void)
{
	Suite *s = suite_create("openai_embedding");
	TCase *t = tcase_create("openai_embedding");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, NULL, tear_down);
	tcase_add_loop_test(t, takes_texts_and_ids_and_lists_of_either, 0,
	    N_GOOD);
	tcase_add_loop_test(t, refuses_and_names_the_member, 0, N_BAD);
	tcase_add_test(t, more_inputs_than_there_may_be_are_refused);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "unit.h"

static json_t *
obj(const char *text)
{
	json_t *o = json_loads(text, JSON_ALLOW_NUL, NULL);

	ck_assert_ptr_nonnull(o);
	return o;
}

#define ID "\"id\": \"0123456789abcdef0123456789abcdef\""

START_TEST(generate_takes_defaults)
{
	json_t *o = obj("{" ID ", \"prompt\": \"hi\", \"top_k\": null}");
	struct decode_generate g;
	struct err e;

	ck_assert_int_eq(field_decode(decode_generate_fields(), sizeof(g), o,
	    &g, &e), 0);
	ck_assert_str_eq(g.prompt, "hi");
	ck_assert_int_eq(g.top_k, 0);
	ck_assert_int_eq(g.repeat_last_n, 64);
	ck_assert_int_eq(g.logprobs, -1);
	ck_assert_double_eq(g.temperature, 1);
	ck_assert(!g.ignore_eos);
	ck_assert_uint_eq(json_array_size(g.stop), 0);
	json_decref(o);
}
END_TEST

START_TEST(an_integer_is_also_a_number)
{
	json_t *o = obj("{" ID ", \"temperature\": 2}");
	struct decode_generate g;

	ck_assert_int_eq(field_decode(decode_generate_fields(), sizeof(g), o,
	    &g, NULL), 0);
	ck_assert_double_eq(g.temperature, 2);
	json_decref(o);
}
END_TEST

static const struct {
	const char *json;
	int code;
	const char *param, *text;
} refused[] = {
	{ "[]", ERR_BAD_MESSAGE, "", "not an object" },
	{ "{}", ERR_BAD_MESSAGE, "id", "'id' is missing" },
	{ "{\"id\": null}", ERR_BAD_MESSAGE, "id", "'id' is missing" },
	{ "{\"id\": \"7\"}", ERR_RANGE, "id", "'id' is 1, not in 32..32 bytes" },
	{ "{\"id\": \"0123456789abcdef0123456789abcd\\u0000f\"}",
	    ERR_BAD_MESSAGE, "id", "'id' has a NUL in it" },
	{ "{" ID ", \"prompt\": 7}", ERR_BAD_MESSAGE, "prompt",
	    "'prompt' is not a string" },
	{ "{" ID ", \"max_tokens\": -1}", ERR_RANGE, "max_tokens",
	    "'max_tokens' is -1, not in 0..1048576 tokens" },
	{ "{" ID ", \"max_tokens\": 1.5}", ERR_BAD_MESSAGE, "max_tokens",
	    "'max_tokens' is not an integer" },
	{ "{" ID ", \"max_token\": 5}", ERR_BAD_MESSAGE, "max_token",
	    "'max_token' is not known here" },
	{ "{" ID ", \"temperature\": 2.5}", ERR_RANGE, "temperature",
	    "'temperature' is 2.5, not in 0..2" },
	{ "{" ID ", \"seed\": 9007199254740993}", ERR_RANGE, "seed",
	    "'seed' is 9007199254740992, not in 0..9007199254740991" },
	{ "{" ID ", \"stop\": \"x\"}", ERR_BAD_MESSAGE, "stop",
	    "'stop' is not an array or object" },
	{ "{" ID ", \"stop\": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}",
	    ERR_RANGE, "stop", "'stop' is 17, not in 0..16 strings" },
	{ "{" ID ", \"ignore_eos\": 1}", ERR_BAD_MESSAGE, "ignore_eos",
	    "'ignore_eos' is not a boolean" },
};

START_TEST(generate_refuses)
{
	struct decode_generate g = { .max_tokens = 42 };
	json_t *o = obj(refused[_i].json);
	struct err e;

	ck_assert_int_eq(field_decode(decode_generate_fields(), sizeof(g), o,
	    &g, &e), refused[_i].code);
	ck_assert_str_eq(e.text, refused[_i].text);
	ck_assert_str_eq(e.param, refused[_i].param);
	ck_assert_int_eq(g.max_tokens, 42);
	json_decref(o);
}
END_TEST

START_TEST(a_piece_arrives_as_it_was_sent)
{
	struct decode_piece in = {
		.id = "0123456789abcdef0123456789abcdef", .seq = 3,
		.text = "ok", .finish = "length", .tokens = json_pack("[i]", 9),
	}, out;
	json_t *o = field_encode(decode_piece_fields(), &in);
	struct err e;

	/* logprobs and stats are NULL, so left out, so their defaults. */
	ck_assert_ptr_null(json_object_get(o, "stats"));
	ck_assert_int_eq(field_decode(decode_piece_fields(), sizeof(out), o,
	    &out, &e), 0);
	ck_assert_str_eq(out.id, in.id);
	ck_assert_int_eq(out.seq, 3);
	ck_assert_str_eq(out.text, "ok");
	ck_assert_str_eq(out.finish, "length");
	ck_assert(json_equal(out.tokens, in.tokens));
	ck_assert(json_is_object(out.stats));
	json_decref(o);
	json_decref(in.tokens);
}
END_TEST

START_TEST(what_json_cannot_say_is_not_encoded)
{
	struct decode_generate g = { .id = "x", .temperature = NAN };
	struct unit_health_is h = { .unit = "\377", .boot = "", .version = "" };
	struct decode_cancel c = { .id = NULL };

	ck_assert_ptr_null(field_encode(decode_generate_fields(), &g));
	ck_assert_ptr_null(field_encode(unit_health_is_fields(), &h));
	ck_assert_ptr_null(field_encode(decode_cancel_fields(), &c));
}
END_TEST

/* Every default of every table is JSON and within its own limits. */
START_TEST(defaults_are_valid)
{
	const struct field *tables[] = { decode_piece_fields(),
	    decode_generate_fields(), decode_acked_fields(),
	    decode_tokenize_fields(), unit_health_is_fields() };
	json_t *v;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct field *f = tables[i]; f->name; f++) {
			if (f->dflt == NULL)
				continue;
			v = json_loads(f->dflt, JSON_DECODE_ANY, NULL);
			ck_assert_msg(v != NULL, "%s", f->name);
			ck_assert_msg(!json_is_number(v) ||
			    (json_number_value(v) >= f->min &&
			    json_number_value(v) <= f->max), "%s", f->name);
			json_decref(v);
		}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("field");
	TCase *t = tcase_create("field");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, generate_takes_defaults);
	tcase_add_test(t, an_integer_is_also_a_number);
	tcase_add_loop_test(t, generate_refuses, 0,
	    (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(t, a_piece_arrives_as_it_was_sent);
	tcase_add_test(t, what_json_cannot_say_is_not_encoded);
	tcase_add_test(t, defaults_are_valid);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

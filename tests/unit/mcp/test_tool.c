#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "tool.h"

static const char *why;		/* of a stack whose worker is down, or NULL */

static int
fake_health(void *self, struct stack_unit *units)
{
	(void)self;
	units[0] = (struct stack_unit){ .unit = "decode", .ready = why == NULL,
		.version = "0.1.0", .uptime_ms = 1500 };
	snprintf(units[0].reason, sizeof(units[0].reason), "%s",
	    why != NULL ? why : "");
	units[1] = (struct stack_unit){ .unit = "gateway", .ready = true,
		.uptime_ms = -1 };
	return 2;
}

static int
fake_models(void *self, struct stack_model *m, int *n, struct err *e)
{
	(void)self;
	if (why != NULL)
		return err_set(e, ERR_UNAVAILABLE, "%s", why);
	m[0] = (struct stack_model){ .id = "halo-demo", .format = "ternary",
		.backend = "cpu", .n_ctx = 4096, .n_params = 11000000 };
	*n = 1;
	return 0;
}

static int
fake_kernels(void *self, struct stack_kernel *k, int *n, struct err *e)
{
	(void)self;
	if (why != NULL)
		return err_set(e, ERR_UNAVAILABLE, "%s", why);
	k[0] = (struct stack_kernel){ "qkv", 30, 3000000, 45000000 };
	k[1] = (struct stack_kernel){ "head", 1, 1000000, 5000000 };
	k[2] = (struct stack_kernel){ "store", 1, 0, 0 };
	*n = 3;
	return 0;
}

static const struct stack fake = {
	.health = fake_health, .models = fake_models,
	.kernels = fake_kernels,
};

static struct tool_stats stats;

static json_t *
member(const json_t *v, const char *name)
{
	json_t *m = json_object_get(v, name);

	ck_assert_msg(m != NULL, "no '%s'", name);
	return m;
}

/* Does v conform to schema?  Of JSON Schema, what the tools use: type, also as
 * a list, properties, required, additionalProperties false, items. */
static bool
is_type(const json_t *v, const char *type)
{
	return (strcmp(type, "object") == 0 && json_is_object(v)) ||
	    (strcmp(type, "array") == 0 && json_is_array(v)) ||
	    (strcmp(type, "string") == 0 && json_is_string(v)) ||
	    (strcmp(type, "integer") == 0 && json_is_integer(v)) ||
	    (strcmp(type, "number") == 0 && json_is_number(v)) ||
	    (strcmp(type, "boolean") == 0 && json_is_boolean(v)) ||
	    (strcmp(type, "null") == 0 && json_is_null(v));
}

static bool
conforms(const json_t *schema, const json_t *v)
{
	const json_t *type = json_object_get(schema, "type"), *s;
	const json_t *properties = json_object_get(schema, "properties");
	bool ok = json_is_string(type) && is_type(v, json_string_value(type));
	const char *name;
	json_t *x;
	size_t i;

	json_array_foreach(type, i, x)
		ok |= is_type(v, json_string_value(x));
	json_array_foreach(json_object_get(schema, "required"), i, x)
		ok &= json_object_get(v, json_string_value(x)) != NULL;
	if (json_is_object(v))
		json_object_foreach((json_t *)(uintptr_t)v, name, x) {
			s = json_object_get(properties, name);
			ok &= s != NULL && conforms(s, x);
		}
	json_array_foreach(v, i, x)
		ok &= conforms(json_object_get(schema, "items"), x);
	return ok;
}

/* The result of a call; also that text and structure say the same and that
 * the structure is what the tool declared. */
static json_t *
call(const char *name, bool failed, json_t **result)
{
	json_t *params = json_pack("{s:s, s:{}}", "name", name, "arguments");
	json_t *list = tool_list(), *tool, *text, *out = NULL;
	struct rpc_error e;
	size_t i;

	ck_assert_int_eq(tool_call(&fake, &stats, params, result, &e), 0);
	ck_assert_int_eq(json_is_true(member(*result, "isError")), failed);
	text = member(json_array_get(member(*result, "content"), 0), "text");
	if (!failed) {
		out = member(*result, "structuredContent");
		text = json_loads(json_string_value(text), 0, NULL);
		ck_assert(json_equal(text, out));
		json_decref(text);
	}
	json_array_foreach(member(list, "tools"), i, tool)
		if (strcmp(json_string_value(member(tool, "name")), name) == 0)
			ck_assert(out == NULL || conforms(member(tool,
			    "outputSchema"), out));
	json_decref(list);
	json_decref(params);
	return out;
}

START_TEST(the_list_is_sorted_and_says_all_a_client_needs)
{
	json_t *list = tool_list(), *t, *schema;
	const char *last = "", *name;
	size_t i;

	ck_assert_uint_eq(json_array_size(member(list, "tools")), 3);
	json_array_foreach(member(list, "tools"), i, t) {
		name = json_string_value(member(t, "name"));
		ck_assert_int_lt(strcmp(last, name), 0);
		ck_assert_uint_eq(strspn(name, "abcdefghijklmnopqrstuvwxyz_"),
		    strlen(name));
		last = name;
		schema = member(t, "inputSchema");
		ck_assert_str_eq(json_string_value(member(schema, "type")),
		    "object");
		ck_assert_uint_eq(json_object_size(member(schema,
		    "properties")), 0);
		ck_assert(json_is_false(member(schema, "additionalProperties")));
		ck_assert(json_is_object(member(t, "outputSchema")));
		ck_assert(json_is_true(member(member(t, "annotations"),
		    "readOnlyHint")));
		ck_assert_uint_gt(json_string_length(member(t, "description")),
		    20);
	}
	json_decref(list);
}
END_TEST

START_TEST(list_models_tells_what_is_served)
{
	json_t *result, *m;

	why = NULL;
	m = json_array_get(member(call("list_models", false, &result),
	    "models"), 0);
	ck_assert_str_eq(json_string_value(member(m, "id")), "halo-demo");
	ck_assert_int_eq(json_integer_value(member(m, "context_tokens")), 4096);
	ck_assert(json_is_null(member(m, "architecture")));
	json_decref(result);
}
END_TEST

START_TEST(kernel_timings_say_where_the_time_went)
{
	json_t *result, *list, *k;

	why = NULL;
	list = member(call("kernel_timings", false, &result), "kernels");
	ck_assert_uint_eq(json_array_size(list), 3);
	k = json_array_get(list, 0);
	ck_assert_str_eq(json_string_value(member(k, "name")), "qkv");
	ck_assert_int_eq(json_integer_value(member(k, "calls")), 30);
	ck_assert_double_eq_tol(json_real_value(member(k, "milliseconds")), 3,
	    1e-9);
	ck_assert_double_eq_tol(json_real_value(member(k, "share")), 0.75, 1e-9);
	ck_assert_double_eq_tol(json_real_value(member(k,
	    "gigabytes_per_second")), 15, 1e-9);
	ck_assert(json_is_null(member(json_array_get(list, 2),
	    "gigabytes_per_second")));
	json_decref(result);
}
END_TEST

START_TEST(a_unit_that_is_down_is_data_and_no_failure)
{
	json_t *result, *out;

	why = "decode does not answer";
	out = call("list_models", false, &result);
	ck_assert(json_is_false(member(out, "available")));
	ck_assert_str_eq(json_string_value(member(out, "reason")), why);
	json_decref(result);
	out = call("kernel_timings", false, &result);
	ck_assert(json_is_false(member(out, "available")));
	ck_assert_str_eq(json_string_value(member(out, "reason")), why);
	json_decref(result);
	out = call("health", false, &result);
	ck_assert(json_is_false(member(out, "ready")));
	out = json_array_get(member(out, "units"), 0);
	ck_assert_str_eq(json_string_value(member(out, "reason")), why);
	ck_assert(json_is_string(member(out, "since")));
	json_decref(result);
}
END_TEST

START_TEST(an_argument_that_is_not_declared_is_the_callers_to_correct)
{
	json_t *params = json_pack("{s:s, s:{s:i}}", "name", "health",
	    "arguments", "depth", 3), *result, *text;
	struct rpc_error e;

	ck_assert_int_eq(tool_call(&fake, &stats, params, &result, &e), 0);
	ck_assert(json_is_true(member(result, "isError")));
	text = member(json_array_get(member(result, "content"), 0), "text");
	ck_assert_ptr_nonnull(strstr(json_string_value(text), "depth"));
	json_decref(result);
	json_decref(params);
}
END_TEST

START_TEST(a_session_ends_once_and_the_oldest_makes_room)
{
	static struct sessions s;
	char first[SESSION_ID_LEN + 1], id[SESSION_ID_LEN + 1];

	sessions_init(&s);
	sessions_begin(&s, first);
	ck_assert_uint_eq(strlen(first), SESSION_ID_LEN);
	ck_assert(sessions_use(&s, first));
	ck_assert(sessions_end(&s, first));
	ck_assert(!sessions_end(&s, first));
	ck_assert(!sessions_use(&s, first));
	ck_assert(!sessions_use(&s, ""));

	sessions_begin(&s, first);
	s.all[0].used_ms -= 1000;
	for (int i = 1; i < SESSIONS_MAX; i++)
		sessions_begin(&s, id);
	ck_assert_int_eq(sessions_count(&s), SESSIONS_MAX);
	ck_assert(sessions_use(&s, first));
	s.all[0].used_ms -= 1000;
	sessions_begin(&s, id);
	ck_assert_int_eq(sessions_count(&s), SESSIONS_MAX);
	ck_assert(!sessions_use(&s, first));
	ck_assert(sessions_use(&s, id));
	s.all[7].used_ms -= SESSION_IDLE_MS;
	ck_assert_int_eq(sessions_count(&s), SESSIONS_MAX - 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tool");
	TCase *t = tcase_create("tool");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, the_list_is_sorted_and_says_all_a_client_needs);
	tcase_add_test(t, list_models_tells_what_is_served);
	tcase_add_test(t, kernel_timings_say_where_the_time_went);
	tcase_add_test(t, a_unit_that_is_down_is_data_and_no_failure);
	tcase_add_test(t, an_argument_that_is_not_declared_is_the_callers_to_correct);
	tcase_add_test(t, a_session_ends_once_and_the_oldest_makes_room);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * Which tokens and which text a request gets: the same whatever runs beside it,
 * however its prompt is cut, and wherever a restart cuts its generation.
 */
#include "engine_world.h"

static const char sampled[] = "'max_tokens':60,'seed':11,'temperature':1.3,"
    "'top_k':200,'top_p':0.95,'min_p':0.01,'repeat_penalty':1.2,"
    "'frequency_penalty':0.3,'presence_penalty':0.2,'logit_bias':{'97':3},"
    "'stop':['\\u0007\\u0007\\u0007']";

/* Run id n alone in a new engine. */
static void
run_alone(int n, const char *prompt, const char *members)
{
	world_open();
	world_add(n, prompt, members);
	world_run();
}

static void
same(const struct heard *a, const struct heard *b)
{
	ck_assert_int_eq(a->n_tokens, b->n_tokens);
	ck_assert_mem_eq(a->tokens, b->tokens,
	    (size_t)a->n_tokens * sizeof(*a->tokens));
	ck_assert_str_eq(a->text.data, b->text.data);
	ck_assert_str_eq(a->finish, b->finish);
}

START_TEST(neighbours_chunks_and_slots_change_nothing)
{
	static const int rows[] = { 4, 7, 64, 100 };

	run_alone(1, "the quick brown fox jumps", sampled);
	ck_assert_int_eq(world_heard(1)->n_tokens, 60);
	for (int i = 0; i < 4; i++) {
		world.config.step_rows = rows[i];
		world_open();
		for (int k = 0; k < 5; k++)
			world_add(10 + 10 * i + k, "another prompt",
			    "'max_tokens':50,'seed':3");
		world_step();
		world_add(2 + i, "the quick brown fox jumps", sampled);
		world_run();
		same(world_heard(2 + i), world_heard(1));
	}
}
END_TEST

/* Token k is what the sampler says for position k after all before it. */
START_TEST(each_token_is_drawn_for_its_own_position)
{
	static const int32_t pages[] = { 0, 1 };
	struct sampler_params p = { .temperature = 1.3F, .top_p = 1,
		.repeat_penalty = 1, .seed = 5 };
	int32_t seen[64] = { 'a', 'b', 'c' };
	float logits[WORLD_VOCAB];
	struct sampler *s;
	struct err e;

	run_alone(1, "abc", "'temperature':1.3,'seed':5,'max_tokens':40");
	ck_assert_int_eq(sampler_create(WORLD_VOCAB, &s, &e), 0);
	for (int k = 0; k < 40; k++) {
		struct backend_row row = { .pos = 2 + k, .pages = pages };

		memcpy(world.kv, seen, sizeof(seen));
		world_logits(logits, &row);
		seen[3 + k] = sampler_choose(s, &p, logits, seen, 3 + k, 3, k);
		ck_assert_int_eq(world_heard(1)->tokens[k], seen[3 + k]);
	}
	sampler_destroy(s);
}
END_TEST

/* Cut a generation after any number of tokens and go on in another engine. */
START_TEST(a_forced_prefix_goes_on_where_it_was_cut)
{
	struct heard *whole, *rest;
	struct decode_accepted a;
	struct err e;

	run_alone(1, "once upon", sampled);
	whole = world_heard(1);
	ck_assert_int_eq(whole->n_tokens, 60);
	for (int cut = 0; cut < 60; cut++) {
		json_t *forced = json_array();

		/* What the client had: its first pieces. */
		world_open();
		world_add(2, "once upon", sampled);
		rest = world_heard(2);
		for (int i = 0; i < cut; i++)
			world_step();
		ck_assert_int_eq(rest->n_tokens, cut);
		for (int i = 0; i < cut; i++)
			json_array_append_new(forced,
			    json_integer(rest->tokens[i]));

		world_open();
		ck_assert_int_eq(world_try(2, "once upon", sampled, forced, &a,
		    &e), 0);
		world_run();
		same(rest, whole);
		buf_free(&rest->text);
		json_decref(rest->stats);
		json_decref(rest->logprobs);
		world.n_heard--;
	}
}
END_TEST

START_TEST(forced_tokens_that_are_all_answer_at_once)
{
	json_t *forced = json_pack("[i, i, i]", 'a', 'b', 0xC3);
	struct decode_accepted a;
	struct err e;

	world_open();
	world_heard(1)->next = 3;
	ck_assert_int_eq(world_try(1, "abc", "'max_tokens':3", forced, &a, &e),
	    0);
	ck_assert(world_step());
	ck_assert_int_eq(world.n_forwards, 0);
	ck_assert_str_eq(world_heard(1)->finish, "length");
	ck_assert_int_eq(world_heard(1)->n_tokens, 0);
	ck_assert_str_eq(world_text(1), "\xEF\xBF\xBD");	/* was held */
	ck_assert_int_eq(json_integer_value(json_object_get(
	    world_heard(1)->stats, "n_generated")), 3);
}
END_TEST

/* What the model says, and what of it is shown.  E: the end token. */
static const struct {
	const char *says, *members, *text, *finish;
	int n_tokens;
} texts[] = {
	{ "hello worldE", "", "hello world", "stop", 12 },
	{ "hello worldE", "'ignore_eos':true,'max_tokens':12", "hello world",
	    "length", 12 },
	{ "hello worldE", "'max_tokens':5", "hello", "length", 5 },
	{ "hello world.", "'stop':['wor']", "hello ", "stop", 9 },
	{ "hello world.", "'stop':['x','o w']", "hell", "stop", 7 },
	{ "hello worldE", "'stop':['world!']", "hello world", "stop", 12 },
	{ "hello world.", "'stop':['world!','or'],'max_tokens':10", "hello w",
	  "stop", 10 },
	{ "hello world.", "'stop':['worlds'],'max_tokens':11", "hello world",
	    "length", 11 },
	{ "caf\xC3\xA9 E", "", "caf\xC3\xA9 ", "stop", 7 },
	{ "caf\xC3\xA9 E", "'max_tokens':4", "caf\xEF\xBF\xBD", "length", 4 },
	{ "caf\xC3zE", "", "caf\xEF\xBF\xBDz", "stop", 6 },
	{ "a\x01z.", "'max_tokens':3", "a\xEF\xBF\xBDz", "length", 3 },
	{ "E", "", "", "stop", 1 },
	{ "\xC3\xA9.", "'stop':['\\u00e9']", "", "stop", 2 },
};

START_TEST(text_stops_where_it_should)
{
	int32_t script[64] = { 0 };
	const char *says = texts[_i].says;

	for (int i = 0; says[i] != '\0'; i++)
		script[i] = says[i] == 'E' ? WORLD_EOS :
		    says[i] == '\x01' ? 0 : (unsigned char)says[i];
	world.script = script;
	world.n_prompt = 3;
	world_open();
	world_add(1, "abc", "'temperature':0");
	engine_cancel(world.en, world_id(1));	/* its text is not mixed in */
	world_add(2, "abc", texts[_i].members);
	world_run();
	ck_assert_str_eq(world_text(2), texts[_i].text);
	ck_assert_str_eq(world_heard(2)->finish, texts[_i].finish);
	ck_assert_int_eq(world_heard(2)->n_tokens, texts[_i].n_tokens);
}
END_TEST

/* Nothing that could begin a stop string, or half a character, is published. */
START_TEST(text_that_may_change_is_held_back)
{
	static const int32_t script[] = { 'h', 'i', 0xC3, 0xA9, 's', 't', 'o',
		'w', 'x' };
	static const char *const shown[] = { "h", "hi", "hi", "hi\xC3\xA9",
		"hi\xC3\xA9", "hi\xC3\xA9", "hi\xC3\xA9", "hi\xC3\xA9stow" };

	world.script = script;
	world.n_prompt = 3;
	world_open();
	world_add(1, "abc", "'temperature':0,'stop':['stop'],'max_tokens':9");
	for (int i = 0; i < 8; i++) {
		world_step();
		ck_assert_str_eq(world_text(1), shown[i]);
	}
}
END_TEST

START_TEST(logprobs_are_told_per_token)
{
	static const int32_t script[] = { 'h', 0xC3, WORLD_EOS };
	const json_t *lp, *top;
	json_t *list;

	world.script = script;
	world.n_prompt = 3;
	world_open();
	world_add(1, "abc", "'temperature':0,'logprobs':2");
	world_add(2, "abc", "'temperature':0,'logprobs':0");
	world_add(3, "abc", "'temperature':0");
	world_run();
	list = world_heard(1)->logprobs;
	ck_assert_uint_eq(json_array_size(list), 3);
	lp = json_array_get(list, 0);
	ck_assert_int_eq(json_integer_value(json_object_get(lp, "id")), 'h');
	ck_assert_str_eq(json_string_value(json_object_get(lp, "text_b64")),
	    "aA==");
	ck_assert(json_real_value(json_object_get(lp, "logprob")) > -1e-6);
	top = json_object_get(lp, "top");
	ck_assert_uint_eq(json_array_size(top), 2);
	ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(top,
	    0), "id")), 'h');
	ck_assert(json_real_value(json_object_get(json_array_get(top, 1),
	    "logprob")) < -90);
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list,
	    1), "text_b64")), "ww==");
	lp = json_array_get(world_heard(2)->logprobs, 2);
	ck_assert_int_eq(json_integer_value(json_object_get(lp, "id")),
	    WORLD_EOS);
	ck_assert_uint_eq(json_array_size(json_object_get(lp, "top")), 0);
	ck_assert_uint_eq(json_array_size(world_heard(3)->logprobs), 0);
}
END_TEST

START_TEST(the_context_bounds_prompt_and_answer)
{
	char prompt[WORLD_CTX + 1];
	struct decode_accepted a;
	struct err e;

	world_open();
	memset(prompt, 'x', sizeof(prompt));
	prompt[WORLD_CTX] = '\0';
	ck_assert_int_eq(world_try(1, prompt, "", NULL, &a, &e), ERR_CONTEXT);
	ck_assert_int_eq(e.n_prompt_tokens, WORLD_CTX);
	ck_assert_int_eq(e.n_ctx, WORLD_CTX);
	prompt[WORLD_CTX - 1] = '\0';
	ck_assert_int_eq(world_try(2, prompt, "'max_tokens':100", NULL, &a, &e),
	    0);
	ck_assert_int_eq(a.max_tokens, 1);
	prompt[WORLD_CTX - 10] = '\0';
	ck_assert_int_eq(world_try(3, prompt, "", NULL, &a, &e), 0);
	ck_assert_int_eq(a.max_tokens, 10);
	world_run();
	ck_assert_int_eq(world_heard(2)->n_tokens, 1);
	ck_assert_int_eq(world_heard(3)->n_tokens, 10);
	ck_assert_str_eq(world_heard(3)->finish, "length");
}
END_TEST

/* generate that cannot be: members, code, member, sentence. */
static const struct {
	const char *members;
	int code;
	const char *param, *sentence;
} refusals[] = {
	{ "'forced':[1,258]", ERR_RANGE, "forced",
	    "forced[1] is not a token id from 0 to 257" },
	{ "'forced':['a']", ERR_RANGE, "forced",
	    "forced[0] is not a token id from 0 to 257" },
	{ "'stop':[7]", ERR_RANGE, "stop",
	    "stop[0] is not a string of 1 to 256 bytes" },
	{ "'stop':['a','']", ERR_RANGE, "stop",
	    "stop[1] is not a string of 1 to 256 bytes" },
	{ "'stop':{'a':1}", ERR_RANGE, "stop",
	    "stop is not an array of at most 16 strings" },
	{ "'logit_bias':{'-1':1}", ERR_RANGE, "logit_bias",
	    "logit_bias: '-1' is not a token id from 0 to 257" },
	{ "'logit_bias':{'':1}", ERR_RANGE, "logit_bias",
	    "logit_bias: '' is not a token id from 0 to 257" },
	{ "'logit_bias':{'07':1}", ERR_RANGE, "logit_bias",
	    "logit_bias: '07' is not a token id from 0 to 257" },
	{ "'logit_bias':{'99999999999999999999':1}", ERR_RANGE, "logit_bias",
	    "logit_bias: '99999999999999999999' is not a token id from 0 to "
	    "257" },
	{ "'logit_bias':{'7':'x'}", ERR_RANGE, "logit_bias",
	    "logit_bias: the value of 7 is not a number from -100 to 100" },
	{ "'logit_bias':[1]", ERR_RANGE, "logit_bias",
	    "logit_bias is not an object" },
};

START_TEST(a_request_that_cannot_be_is_refused)
{
	struct decode_accepted a;
	struct err e;

	world_open();
	ck_assert_int_eq(world_try(1, "abc", refusals[_i].members, NULL, &a,
	    &e), refusals[_i].code);
	ck_assert_str_eq(e.text, refusals[_i].sentence);
	ck_assert_str_eq(e.param, refusals[_i].param);
	ck_assert_int_eq(world_stats().held, 0);
}
END_TEST

START_TEST(a_prompt_without_tokens_is_refused)
{
	struct decode_accepted a;
	struct err e;

	world_open();
	ck_assert_int_eq(world_try(1, "", "", NULL, &a, &e), ERR_RANGE);
	ck_assert_str_eq(e.text, "the prompt has no tokens");
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *s = suite_create("engine_tokens");
	TCase *t = tcase_create("tokens");

	tcase_add_test(t, neighbours_chunks_and_slots_change_nothing);
	tcase_add_test(t, each_token_is_drawn_for_its_own_position);
	tcase_add_test(t, a_forced_prefix_goes_on_where_it_was_cut);
	tcase_add_test(t, forced_tokens_that_are_all_answer_at_once);
	tcase_add_loop_test(t, text_stops_where_it_should, 0, COUNT(texts));
	tcase_add_test(t, text_that_may_change_is_held_back);
	tcase_add_test(t, logprobs_are_told_per_token);
	tcase_add_test(t, the_context_bounds_prompt_and_answer);
	tcase_add_loop_test(t, a_request_that_cannot_be_is_refused, 0,
	    COUNT(refusals));
	tcase_add_test(t, a_prompt_without_tokens_is_refused);
	return world_main(s, t);
}

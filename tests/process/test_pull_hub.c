/*
 * 1bit-halo-pkg pull HF:... and of the catalogue, against the two answers of a
 * hub's index and its files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pull_peer.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define API "/api/models/own/er"
#define FILES "/own/er/resolve/" COMMIT "/"
/* Some sum; that of no file here. */
#define SUM "9f44bf7fdbbee2c6fbd1b8fab0f9ccf8e7c5b3fbe2d2d9a8fd1e9d4d9c3a7e10"

static const char commit[] = "{\"id\":\"own/er\",\"sha\":\"" COMMIT "\","
    "\"cardData\":{\"license\":\"apache-2.0\"}}";

/* An entry of the tree. */
#define ENTRY(path, size, more) "{\"type\":\"file\",\"path\":\"" path "\"," \
	"\"size\":" size more "}"

static const char tree[] = "["
    ENTRY("README.md", "5", "") ","
    ENTRY("config.json", "2", "") ","
    ENTRY("tokenizer.json", "2", "") ","
    "{\"type\":\"directory\",\"path\":\"sub.safetensors\"},"
    ENTRY("sub/b.safetensors", "7", "") ","
    ENTRY("../evil.safetensors", "7", "") ","
    ENTRY("/etc/evil.safetensors", "7", "") ","
    ENTRY("model.safetensors", "300000", "") "]";

enum { WEIGHTS = 300000 };

static void
serve(const struct served *weights, const char *index)
{
	const struct served all[] = {
		{ .path = API "/revision/main", .text = commit },
		{ .path = API "/tree/" COMMIT, .text = index },
		{ .path = FILES "config.json", .text = "{}" },
		{ .path = FILES "tokenizer.json", .text = "{}" },
		{ .path = FILES "a.gguf", .text = "GGUF one" },
		{ .path = FILES "b-Q2_0.gguf", .text = "GGUF two" },
		*weights,
	};

	file_server_serve(all, sizeof(all) / sizeof(*all));
}

static const struct served whole = { .path = FILES "model.safetensors",
    .n = WEIGHTS, .etag = "\"w\"" };

START_TEST(a_checkpoint_is_a_directory_of_what_belongs_to_it)
{
	json_t *o;

	serve(&whole, tree);
	ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url", pull_url("")),
	    0);
	pull_says("er: 300.0 kB, 3 files, licence: apache-2.0");
	ck_assert_int_eq(pull_size("er/model.safetensors"), WEIGHTS);
	ck_assert_int_eq(pull_size("er/config.json"), 2);
	ck_assert(!pull_there("er/README.md"));
	ck_assert(!pull_there("er.part"));
	ck_assert(!pull_there("evil.safetensors"));
	o = pull_manifest("er");
	ck_assert_str_eq(json_string_value(json_object_get(o, "revision")),
	    COMMIT);
	ck_assert_str_eq(json_string_value(json_object_get(o, "source")),
	    "HF:own/er@main");
	json_decref(o);
	ck_assert_int_eq(RUN("list", "--verify"), 0);
	pull_says("safetensors");
	ck_assert_int_eq(RUN("rm", "er"), 0);
	ck_assert(!pull_there("er"));
}
END_TEST

START_TEST(files_that_are_whole_are_not_fetched_again)
{
	struct served cut = whole;

	cut.how = SERVE_CUT;
	cut.cut = 100000;
	serve(&cut, tree);
	ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url", pull_url(""),
	    "--retries", "0"), 2);
	ck_assert_int_eq(pull_size("er.part/model.safetensors.part"), 100000);
	ck_assert_int_eq(pull_size("er.part/config.json"), 2);
	serve(&whole, tree);
	ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url", pull_url("")),
	    0);
	ck_assert_int_eq(file_server_requests(), 3);
	ck_assert(file_server_saw("Range: bytes=100000-"));
	ck_assert_int_eq(pull_size("er/model.safetensors"), WEIGHTS);
	ck_assert(!pull_there("er/model.safetensors.part"));
}
END_TEST

START_TEST(a_checkpoint_is_replaced_as_a_whole)
{
	struct served other = whole;

	serve(&whole, tree);
	ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url", pull_url("")),
	    0);
	other.n = WEIGHTS - 1;
	other.etag = "\"v\"";
	serve(&other, tree);
	ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url", pull_url("")),
	    0);
	pull_says("is there already");
	ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url", pull_url(""),
	    "--force"), 0);
	ck_assert_int_eq(pull_size("er/model.safetensors"), WEIGHTS - 1);
	ck_assert(!pull_there("er.part"));
	ck_assert(!pull_there("er.part.json"));
	ck_assert_int_eq(RUN("list", "--verify"), 0);
}
END_TEST

START_TEST(the_sums_of_the_index_are_checked)
{
	static const char index[] = "["
	    ENTRY("config.json", "2", "") ","
	    ENTRY("model.safetensors", "300000", ",\"lfs\":{\"oid\":\"" SUM
	    "\",\"size\":300000}") "]";

	serve(&whole, index);
	ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url", pull_url("")),
	    1);
	pull_says("expected " SUM);
	ck_assert(!pull_there("er"));
}
END_TEST

START_TEST(one_file_of_a_repository_is_chosen_by_its_name)
{
	static const char index[] = "[" ENTRY("a.gguf", "8", "") ","
	    ENTRY("b-Q2_0.gguf", "8", "") "]";

	serve(&whole, index);
	ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url", pull_url("")),
	    2);
	pull_says("say --file NAME; it has: a.gguf, b-Q2_0.gguf");
	ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url", pull_url(""),
	    "--file", "*.gguf"), 2);
	pull_says("--file does not name one file");
	ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url", pull_url(""),
	    "--file", "*-Q2_0.gguf"), 0);
	ck_assert_int_eq(pull_size("b-Q2_0.gguf"), 8);
}
END_TEST

START_TEST(a_name_of_the_catalogue_is_looked_up_at_the_hub)
{
	serve(&whole, tree);
	ck_assert_int_eq(RUN("pull", "bitnet-2b4t", "--hub-url",
	    pull_url("/")), 2);
	pull_says("answers 404");
	ck_assert(file_server_saw("GET /api/models/microsoft/bitnet-b1.58-2B-4T"
	    "/revision/main "));
}
END_TEST

static const struct {
	const char *commit, *tree, *sentence;
} answers[] = {
	{ "", tree, "" },
	{ "[]", tree, "names no commit" },
	{ "{\"sha\":\"x\"}", tree, "names no commit" },
	{ "{\"sha\":\"../../../../../../../../../../../../../x\"}", tree,
	    "names no commit" },
	{ commit, "{", "" },
	{ commit, "{}", "it has: no model" },
	{ commit, "[]", "it has: no model" },
	{ commit, "[1,null,{\"path\":3}]", "it has: no model" },
	{ commit, "[" ENTRY("config.json", "2", "") "]", "it has: no model" },
	{ commit, "[" ENTRY("a.safetensors", "2", "") ","
	    ENTRY("a.safetensors", "2", "") "]", "has a.safetensors twice" },
};

START_TEST(an_index_that_is_none_is_refused)
{
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		const struct served all[] = {
			{ .path = API "/revision/main",
			    .text = answers[i].commit },
			{ .path = API "/tree/" COMMIT,
			    .text = answers[i].tree },
		};

		file_server_serve(all, 2);
		ck_assert_int_eq(RUN("pull", "HF:own/er", "--hub-url",
		    pull_url("")), 2);
		pull_says("1bit-halo-pkg: ");
		pull_says(answers[i].sentence);
		ck_assert(!pull_there("er.part"));
	}
}
END_TEST

START_TEST(a_model_is_converted_at_once)
{
	const char *name = "halo-demo.v6.h1b";
	static char bytes[13 << 20];
	FILE *fp = fopen("models/halo-demo.h1b", "r");
	size_t n;

	if (fp == NULL)
		return;		/* the demo model is not here */
	n = fread(bytes, 1, sizeof(bytes), fp);
	fclose(fp);
	file_server_serve(&(struct served){ .path = "/halo-demo.h1b",
	    .text = bytes, .n = n }, 1);
	ck_assert_int_eq(RUN("pull", pull_url("/halo-demo.h1b"), "--convert"),
	    0);
	pull_says("converted: ");
	ck_assert(pull_there(name));
	ck_assert_int_eq(RUN("list", "--verify", "--json"), 0);
	pull_says("\"name\": \"halo-demo.v6.h1b\"");
}
END_TEST

static void
fill(TCase *t)
{
	tcase_add_test(t, a_checkpoint_is_a_directory_of_what_belongs_to_it);
	tcase_add_test(t, files_that_are_whole_are_not_fetched_again);
	tcase_add_test(t, a_checkpoint_is_replaced_as_a_whole);
	tcase_add_test(t, the_sums_of_the_index_are_checked);
	tcase_add_test(t, one_file_of_a_repository_is_chosen_by_its_name);
	tcase_add_test(t, a_name_of_the_catalogue_is_looked_up_at_the_hub);
	tcase_add_test(t, an_index_that_is_none_is_refused);
	tcase_add_test(t, a_model_is_converted_at_once);
}

int
main(void)
{
	return pull_main("pull from a hub", fill);
}

/*
 * 1bit-halo-pkg pull, list and rm against a server that cuts, stalls, lies and
 * redirects.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pull_peer.h"

enum { BIG = 1 << 20 };

#define ETAG_1 "\"one\""
#define ETAG_2 "\"two\""
#define SMALL "GGUF: not much"

/* File name of the store is the n bytes that the server makes with salt. */
static void
check_bytes(const char *name, size_t n, char salt)
{
	FILE *fp = fopen(pull_path(name), "r");
	int c;

	ck_assert_ptr_nonnull(fp);
	for (size_t i = 0; i < n; i++) {
		c = fgetc(fp);
		if (c == EOF || (char)c != file_server_byte(i, salt))
			ck_abort_msg("%s: byte %zu is another", name, i);
	}
	ck_assert_int_eq(fgetc(fp), EOF);
	fclose(fp);
}

static void
serve(const struct served *f)
{
	file_server_serve(f, 1);
}

/* A model of the server's bytes counts as none, so these pulls end with 1. */
enum { NO_MODEL = 1 };

START_TEST(a_model_comes_whole_with_a_manifest_and_goes_again)
{
	json_t *o;

	serve(&(struct served){ .path = "/m/small.gguf", .text = SMALL,
	    .etag = ETAG_1 });
	ck_assert_int_eq(RUN("pull", pull_url("/m/small.gguf"), "--licence",
	    "mit"), 0);
	pull_says("not pinned");
	pull_says("licence: mit");
	pull_says("run: bitnet_decode --model ");
	ck_assert_int_eq(pull_size("small.gguf"), (long)strlen(SMALL));
	ck_assert(!pull_there("small.gguf.part"));
	ck_assert(!pull_there("small.gguf.part.json"));
	ck_assert(!pull_there(".small.gguf.lock"));
	o = pull_manifest("small.gguf");
	ck_assert_str_eq(json_string_value(json_object_get(o, "source")),
	    pull_url("/m/small.gguf"));
	ck_assert_str_eq(json_string_value(json_object_get(o, "licence")),
	    "mit");
	json_decref(o);
	/* Again: nothing is asked for. */
	ck_assert_int_eq(file_server_requests(), 1);
	ck_assert_int_eq(RUN("pull", pull_url("/m/small.gguf")), 0);
	pull_says("is there already");
	ck_assert_int_eq(file_server_requests(), 1);
	ck_assert_int_eq(RUN("list", "--verify"), 0);
	pull_says("gguf");
	ck_assert_int_eq(RUN("rm", "small.gguf"), 0);
	ck_assert(!pull_there("small.gguf"));
	ck_assert(!pull_there("small.gguf.manifest.json"));
	ck_assert_int_eq(RUN("rm", "small.gguf"), 2);
	pull_says("holds no model 'small.gguf'");
}
END_TEST

START_TEST(a_cut_transfer_goes_on_where_it_ended)
{
	serve(&(struct served){ .path = "/big", .n = BIG, .etag = ETAG_1,
	    .how = SERVE_CUT, .cut = 300000, .times = 1 });
	ck_assert_int_eq(RUN("pull", pull_url("/big"), "--retries", "0"), 2);
	pull_says("300.0 kB are kept in ");
	pull_says("the same command goes on from there");
	ck_assert_int_eq(pull_size("big.part"), 300000);
	ck_assert(!pull_there("big"));
	ck_assert_int_eq(RUN("list"), 0);
	pull_says("unfinished");
	ck_assert_int_eq(RUN("pull", pull_url("/big")), NO_MODEL);
	ck_assert(file_server_saw("Range: bytes=300000-"));
	ck_assert(file_server_saw("If-Range: " ETAG_1));
	check_bytes("big", BIG, 0);
}
END_TEST

START_TEST(it_tries_again_by_itself)
{
	serve(&(struct served){ .path = "/big", .n = BIG, .etag = ETAG_1,
	    .how = SERVE_CUT, .cut = 300000, .times = 1 });
	ck_assert_int_eq(RUN("pull", pull_url("/big")), NO_MODEL);
	pull_says("again in 1 s");
	check_bytes("big", BIG, 0);
	ck_assert_int_eq(file_server_requests(), 2);
}
END_TEST

static void
cut_first(enum serve_how then, const char *etag)
{
	serve(&(struct served){ .path = "/big", .n = BIG, .etag = ETAG_1,
	    .how = SERVE_CUT, .cut = 300000 });
	ck_assert_int_eq(RUN("pull", pull_url("/big"), "--retries", "0"), 2);
	serve(&(struct served){ .path = "/big", .n = BIG - 7, .etag = etag,
	    .how = then, .salt = 9 });
	ck_assert_int_eq(RUN("pull", pull_url("/big"), "--retries", "0"), NO_MODEL);
	pull_says("from the beginning");
	check_bytes("big", BIG - 7, 9);
}

START_TEST(a_changed_file_is_not_spliced)
{
	cut_first(SERVE_WELL, ETAG_2);
}
END_TEST

START_TEST(a_changed_file_is_not_spliced_by_a_server_without_if_range)
{
	cut_first(SERVE_SPLICED, ETAG_2);
}
END_TEST

START_TEST(what_a_server_without_ranges_sends_is_taken_whole)
{
	cut_first(SERVE_WHOLE, ETAG_1);
}
END_TEST

START_TEST(a_part_that_was_not_asked_for_is_not_appended)
{
	cut_first(SERVE_SHIFTED, ETAG_1);
}
END_TEST

START_TEST(without_a_tag_or_a_sum_it_begins_anew)
{
	serve(&(struct served){ .path = "/big", .n = BIG, .how = SERVE_CUT,
	    .cut = 300000, .times = 1 });
	ck_assert_int_eq(RUN("pull", pull_url("/big"), "--retries", "0"), 2);
	ck_assert_int_eq(RUN("pull", pull_url("/big"), "--retries", "0"), NO_MODEL);
	pull_says("nothing to tell by");
	ck_assert(!file_server_saw("Range: bytes="));
	check_bytes("big", BIG, 0);
}
END_TEST

START_TEST(a_pull_that_is_killed_loses_nothing)
{
	const char *const args[] = { PULL_PKG, "pull", pull_url("/big"), "--dir", pull_store,
		NULL };
	struct process p;

	serve(&(struct served){ .path = "/big", .n = BIG, .etag = ETAG_1,
	    .how = SERVE_STALL, .cut = 500000, .times = 1 });
	process_start(&p, pull_dir, "pull", args);
	file_server_wait_sent(500000);
	while (pull_size("big.part") <= 0)
		usleep(10000);
	ck_assert_int_eq(RUN("pull", pull_url("/big")), 2);
	pull_says("another 1bit-halo-pkg is at work on 'big'");
	ck_assert_int_eq(RUN("rm", "big"), 2);
	pull_says("another 1bit-halo-pkg is at work on 'big'");
	ck_assert_int_eq(process_end(&p, SIGKILL, PROCESS_END_MS), 128 + SIGKILL);
	ck_assert_int_gt(pull_size("big.part"), 0);
	ck_assert_int_eq(RUN("pull", pull_url("/big")), NO_MODEL);
	ck_assert(file_server_saw("Range: bytes="));
	check_bytes("big", BIG, 0);
}
END_TEST

START_TEST(a_stalled_transfer_ends)
{
	serve(&(struct served){ .path = "/big", .n = BIG, .etag = ETAG_1,
	    .how = SERVE_STALL, .cut = 1000 });
	ck_assert_int_eq(RUN("pull", pull_url("/big"), "--stall-seconds", "1",
	    "--retries", "0"), 2);
	pull_says("less than 1 KiB a second came for 1 s");
	ck_assert_int_eq(pull_size("big.part"), 1000);
}
END_TEST

START_TEST(a_full_disk_loses_nothing)
{
	char command[512];
	const char *const args[] = { "/bin/sh", "-c", command, NULL };

	serve(&(struct served){ .path = "/big", .n = BIG, .etag = ETAG_1 });
	snprintf(command, sizeof(command), "ulimit -f 800; exec %s pull %s "
	    "--dir %s", PULL_PKG, pull_url("/big"), pull_store);
	ck_assert_int_eq(process_run(pull_dir, args, pull_text, sizeof(pull_text)), 2);
	pull_says("big.part: cannot be written: File too large");
	pull_says("are kept in ");
	ck_assert_int_gt(pull_size("big.part"), 100000);
	ck_assert_int_eq(RUN("pull", pull_url("/big")), NO_MODEL);
	ck_assert(file_server_saw("Range: bytes="));
	check_bytes("big", BIG, 0);
}
END_TEST

START_TEST(a_disk_too_small_is_noticed_before_the_first_byte_if_it_can_be)
{
	char command[700];
	const char *const args[] = { "/bin/sh", "-c", command, NULL };

	snprintf(command, sizeof(command), "unshare -m sh -c 'mkdir -p %s && "
	    "mount -t tmpfs -o size=256k none %s || exit 77; exec %s pull %s "
	    "--dir %s' || exit $?", pull_store, pull_store, PULL_PKG,
	    pull_url("/big"), pull_store);
	serve(&(struct served){ .path = "/big", .n = BIG, .etag = ETAG_1 });
	if (process_run(pull_dir, args, pull_text, sizeof(pull_text)) != 2 ||
	    strstr(pull_text, "1bit-halo-pkg") == NULL)
		return;		/* no right to mount anything here */
	pull_says("and the disk has room for ");
	ck_assert(strstr(pull_text, "are kept") == NULL);
	/* Nobody says how long it is. */
	serve(&(struct served){ .path = "/big", .n = BIG,
	    .how = SERVE_CHUNKED });
	ck_assert_int_eq(process_run(pull_dir, args, pull_text,
	    sizeof(pull_text)), 2);
	pull_says("cannot be written: No space left on device");
	pull_says("are kept in ");
}
END_TEST

START_TEST(a_wrong_sum_is_status_1_and_a_right_one_needs_no_second_transfer)
{
	static const char wrong[] = "0000000000000000000000000000000000000000"
	    "000000000000000000000000";
	json_t *o;
	char sum[80];

	serve(&(struct served){ .path = "/s.gguf", .text = SMALL, .etag = ETAG_1 });
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf"), "--sha256", wrong), 1);
	pull_says("sha256 is ");
	pull_says("expected 00000000");
	ck_assert(!pull_there("s.gguf"));
	snprintf(sum, sizeof(sum), "%.64s", strstr(pull_text, "sha256 is ") + 10);
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf"), "--sha256", sum), 0);
	pull_says("as expected");
	ck_assert(file_server_saw("Range: bytes=14-"));
	o = pull_manifest("s.gguf");
	ck_assert_str_eq(json_string_value(json_object_get(json_array_get(
	    json_object_get(o, "files"), 0), "sha256")), sum);
	json_decref(o);
	/* Another sum of what is there already is another model. */
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf"), "--sha256", wrong), 2);
	pull_says("exists already: --force");
}
END_TEST

START_TEST(a_sum_that_is_wrong_again_begins_anew)
{
	static const char wrong[] = "0000000000000000000000000000000000000000"
	    "000000000000000000000000";

	serve(&(struct served){ .path = "/s.gguf", .text = SMALL,
	    .etag = ETAG_1 });
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf"), "--sha256", wrong),
	    1);
	pull_says("in case the sum was mistyped");
	ck_assert_int_eq(pull_size("s.gguf.part"), (long)strlen(SMALL));
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf"), "--sha256", wrong),
	    1);
	pull_says("expected 00000000");
	ck_assert(!pull_there("s.gguf.part"));
	ck_assert(!pull_there("s.gguf.part.json"));
}
END_TEST

START_TEST(a_replacement_that_was_cut_goes_on_too)
{
	const struct served one = { .path = "/s.gguf", .text = SMALL,
	    .etag = ETAG_1 };
	struct served other = { .path = "/s.gguf", .text = SMALL " but more",
	    .etag = ETAG_2, .how = SERVE_CUT, .cut = 10 };

	serve(&one);
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf")), 0);
	serve(&other);
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf"), "--force",
	    "--retries", "0"), 2);
	ck_assert_int_eq(pull_size("s.gguf"), (long)strlen(SMALL));
	other.how = SERVE_WELL;
	serve(&other);
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf"), "--force"), 0);
	ck_assert(file_server_saw("Range: bytes=10-"));
	ck_assert_int_eq(pull_size("s.gguf"), (long)strlen(SMALL " but more"));
	ck_assert(!pull_there("s.gguf.part"));
	ck_assert(!pull_there("s.gguf.part.json"));
}
END_TEST

START_TEST(half_of_another_source_is_not_gone_on_with)
{
	const struct served both[] = {
		{ .path = "/a/big", .n = BIG, .etag = ETAG_1, .how = SERVE_CUT,
		    .cut = 1000 },
		{ .path = "/b/big", .text = SMALL, .etag = ETAG_1 },
	};

	file_server_serve(both, 2);
	ck_assert_int_eq(RUN("pull", pull_url("/a/big"), "--retries", "0"), 2);
	ck_assert_int_eq(RUN("pull", pull_url("/b/big")), 2);
	pull_says("big is half pulled from http://127.0.0.1:");
	ck_assert_int_eq(pull_size("big.part"), 1000);
	ck_assert_int_eq(RUN("pull", pull_url("/b/big"), "--force"), 0);
	ck_assert_int_eq(pull_size("big"), (long)strlen(SMALL));
}
END_TEST

START_TEST(what_no_length_is_known_of_needs_a_sum_unless_it_is_chunked)
{
	serve(&(struct served){ .path = "/s.gguf", .text = SMALL, .how = SERVE_UNMEASURED });
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf")), 2);
	pull_says("does not say how long it is");
	serve(&(struct served){ .path = "/s.gguf", .text = SMALL, .how = SERVE_CHUNKED });
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf")), 0);
	ck_assert_int_eq(pull_size("s.gguf"), (long)strlen(SMALL));
}
END_TEST

START_TEST(another_file_of_the_same_name_is_replaced_only_by_force)
{
	const struct served both[] = {
		{ .path = "/a/s.gguf", .text = SMALL },
		{ .path = "/b/s.gguf", .text = "GGUF" },
	};

	file_server_serve(both, 2);
	ck_assert_int_eq(RUN("pull", pull_url("/a/s.gguf")), 0);
	ck_assert_int_eq(RUN("pull", pull_url("/b/s.gguf")), 2);
	pull_says("exists already: --force replaces it");
	ck_assert_int_eq(RUN("pull", pull_url("/b/s.gguf"), "--force"), 0);
	ck_assert_int_eq(pull_size("s.gguf"), 4);
	ck_assert(!pull_there("s.gguf.part"));
	ck_assert_int_eq(RUN("pull", pull_url("/a/s.gguf"), "--name", "t"), 0);
	ck_assert_int_eq(pull_size("t"), (long)strlen(SMALL));
}
END_TEST

START_TEST(a_damaged_model_is_found)
{
	FILE *fp;

	serve(&(struct served){ .path = "/s.gguf", .text = SMALL });
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf")), 0);
	fp = fopen(pull_path("s.gguf"), "r+");
	fseek(fp, 8, SEEK_SET);
	fputc('N', fp);
	fclose(fp);
	ck_assert_int_eq(RUN("list", "--verify"), 1);
	pull_says("but ");
	pull_says("was pulled");
}
END_TEST

static const struct {
	const char *path;	/* of the server, or a whole URL */
	struct served as;
	int status;
	const char *sentence;
} refusals[] = {
	{ "/none", { 0 }, 2, "there is no such file (404)" },
	{ "/a", { .how = SERVE_STATUS, .status = 403 }, 2, "after a login" },
	{ "/a", { .how = SERVE_STATUS, .status = 500 }, 2, "answers 500" },
	{ "/a", { .how = SERVE_STATUS, .status = 206 }, 2, "answers 206" },
	{ "/a", { .how = SERVE_STATUS, .status = 416 }, 2, "answers 416" },
	{ "/a", { .how = SERVE_REDIRECT, .text = "/a" }, 2,
	    "more than 5 redirects" },
	{ "/a", { .how = SERVE_REDIRECT, .text = "file:///etc/passwd" }, 2,
	    "leads to another protocol" },
	{ "/a", { .how = SERVE_REDIRECT, .text = "ftp://127.0.0.1/x" }, 2,
	    "leads to another protocol" },
	{ "/a", { .text = "<html>", .n = 6 }, 1, "no model that is known" },
	{ "file:///etc/passwd", { 0 }, 2, "file is not spoken" },
	{ "ftp://127.0.0.1/a", { 0 }, 2, "ftp is not spoken" },
	{ "http://u:p@127.0.0.1/a", { 0 }, 2, "user or password" },
	{ "http://127.0.0.1:1/", { 0 }, 2, "ends in no name" },
	{ "http://127.0.0.1:1/..", { 0 }, 2, "ends in no name" },
	{ "http://127.0.0.1:1/%2e%2e%2f", { 0 }, 2, "ends in no name" },
	{ "http://127.0.0.1:1/a.part", { 0 }, 2, "ends in no name" },
	{ "http://127.0.0.1:1/a%00b", { 0 }, 2, "ends in no name" },
	{ "http://127.0.0.1:1/b", { 0 }, 2, "onnect" },
	{ "http://127.0.0.1:1/b", { 0 }, 2, "onnect" },
	{ "HF:owner", { 0 }, 2, "is not HF:OWNER/NAME" },
	{ "HF:../../x", { 0 }, 2, "is not HF:OWNER/NAME" },
	{ "HF:a/b@../c", { 0 }, 2, "is not HF:OWNER/NAME" },
	{ "HF:a/b?c", { 0 }, 2, "is not HF:OWNER/NAME" },
};

START_TEST(what_cannot_be_pulled_is_refused_in_a_sentence)
{
	size_t n = sizeof(refusals) / sizeof(*refusals);

	for (size_t i = 0; i < n; i++) {
		struct served f = refusals[i].as;
		const char *what = refusals[i].path;

		f.path = "/a";
		serve(&f);
		ck_assert_msg(RUN("pull", what[0] == '/' ? pull_url(what) : what,
		    "--retries", "0") == refusals[i].status, "%s: %s", what,
		    pull_text);
		pull_says(refusals[i].sentence);
		/* Nothing is left but what is called no model. */
		if (refusals[i].status == 2)
			ck_assert(!pull_there("a.part"));
	}
}
END_TEST

START_TEST(names_never_leave_the_directory)
{
	static const char *const bad[] = { "", ".", "..", "../x", "/etc/x",
		"a/b", ".x", "-x", "x.part", "x.manifest.json", "x\ny" };

	serve(&(struct served){ .path = "/x/%2e%2e%2f..%2fes%20c%3bape", .text = SMALL });
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char name[64];

		snprintf(name, sizeof(name), "--name=%s", bad[i]);
		ck_assert_int_eq(RUN("pull", pull_url("/x/a"), name), 2);
		pull_says("no name of a model");
		ck_assert_int_eq(RUN("rm", "--", bad[i]), 2);
	}
	ck_assert_int_eq(RUN("pull",
	    pull_url("/x/%2e%2e%2f..%2fes%20c%3bape")), 0);
	ck_assert(pull_there("es_c_ape"));
}
END_TEST

START_TEST(rm_takes_no_directory_that_holds_another)
{
	serve(&(struct served){ .path = "/s.gguf", .text = SMALL });
	ck_assert_int_eq(RUN("pull", pull_url("/s.gguf")), 0);
	ck_assert_int_eq(mkdir(pull_path("mine"), 0755), 0);
	fclose(fopen(pull_path("mine/config.json"), "w"));
	ck_assert_int_eq(mkdir(pull_path("mine/deep"), 0755), 0);
	ck_assert_int_eq(RUN("rm", "mine"), 2);
	pull_says("which no pull has made");
	ck_assert(pull_there("mine/config.json"));
	ck_assert_int_eq(rmdir(pull_path("mine/deep")), 0);
	ck_assert_int_eq(RUN("rm", "mine"), 0);
	ck_assert(!pull_there("mine"));
	fclose(fopen(pull_path("notes.txt"), "w"));
	ck_assert_int_eq(RUN("rm", "notes.txt"), 2);
	ck_assert(pull_there("notes.txt"));
}
END_TEST

static void
fill(TCase *t)
{
	tcase_add_test(t, a_model_comes_whole_with_a_manifest_and_goes_again);
	tcase_add_test(t, a_cut_transfer_goes_on_where_it_ended);
	tcase_add_test(t, it_tries_again_by_itself);
	tcase_add_test(t, a_changed_file_is_not_spliced);
	tcase_add_test(t,
	    a_changed_file_is_not_spliced_by_a_server_without_if_range);
	tcase_add_test(t, what_a_server_without_ranges_sends_is_taken_whole);
	tcase_add_test(t, a_part_that_was_not_asked_for_is_not_appended);
	tcase_add_test(t, without_a_tag_or_a_sum_it_begins_anew);
	tcase_add_test(t, a_pull_that_is_killed_loses_nothing);
	tcase_add_test(t, a_stalled_transfer_ends);
	tcase_add_test(t, a_full_disk_loses_nothing);
	tcase_add_test(t,
	    a_disk_too_small_is_noticed_before_the_first_byte_if_it_can_be);
	tcase_add_test(t,
	    a_wrong_sum_is_status_1_and_a_right_one_needs_no_second_transfer);
	tcase_add_test(t, a_sum_that_is_wrong_again_begins_anew);
	tcase_add_test(t, a_replacement_that_was_cut_goes_on_too);
	tcase_add_test(t, half_of_another_source_is_not_gone_on_with);
	tcase_add_test(t,
	    what_no_length_is_known_of_needs_a_sum_unless_it_is_chunked);
	tcase_add_test(t,
	    another_file_of_the_same_name_is_replaced_only_by_force);
	tcase_add_test(t, a_damaged_model_is_found);
	tcase_add_test(t, what_cannot_be_pulled_is_refused_in_a_sentence);
	tcase_add_test(t, names_never_leave_the_directory);
	tcase_add_test(t, rm_takes_no_directory_that_holds_another);
}

int
main(void)
{
	return pull_main("pull", fill);
}

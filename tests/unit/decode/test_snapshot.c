/*
 * Snapshots: what is written is read again, and nothing else ever is.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "model/crc32c.h"
#include "session_world.h"

/* The file of key [*n], to be freed. */
static uint8_t *
slurp_file(const char *key, size_t *n)
{
	char path[200];
	struct stat st;
	uint8_t *bytes;
	int fd;

	snprintf(path, sizeof(path), "%s/%s.kv", session_dir, key);
	ck_assert_int_ge(fd = open(path, O_RDONLY), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	*n = (size_t)st.st_size;
	ck_assert_ptr_nonnull(bytes = malloc(*n));
	ck_assert_int_eq(read(fd, bytes, *n), (ssize_t)*n);
	close(fd);
	return bytes;
}

static void
spit(const char *key, const void *bytes, size_t n)
{
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/%s.kv", session_dir, key);
	ck_assert_int_ge(fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), 0);
	ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

static void
save(const char *key)
{
	struct err e;

	ck_assert_msg(session_store_save(store, key, &e) == 0, "%s", e.text);
	ck_assert_int_eq(session_member(key, "saved"), 1);
}

START_TEST(a_session_comes_back_after_a_restart)
{
	const struct heard *h;
	int32_t want[5];

	store_open(1 << 20);
	session_turn(1, "a1", 7, 100);
	save("a1");
	session_do("a1", "fork");
	session_turn(2, "f0", 7, 100);
	memcpy(want, world_heard(2)->tokens, sizeof(want));
	session_restart();
	ck_assert_int_eq(session_member("a1", "n_resident"), 0);
	ck_assert_int_eq(session_member("a1", "n_tokens"), 104);
	ck_assert_str_eq(session_turn(3, "a1", 7, 100), "restored");
	h = world_heard(3);
	ck_assert_int_eq(memcmp(h->tokens, want, sizeof(want)), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(h->stats,
	    "n_cached")), 99);
	ck_assert_str_eq(session_turn(4, "a1", 7, 100), "warm");
}
END_TEST

START_TEST(what_was_pinned_is_pinned_again_until_its_lease_ends)
{
	store_open(1 << 20);
	session_turn(1, "a1", 7, 100);
	session_do("a1", "pin");
	world_pass(50000);
	session_restart();
	ck_assert_int_eq(session_member("a1", "pinned"), 1);
	ck_assert_int_eq(session_member("a1", "lease_ms"), 10000);
	ck_assert_str_eq(session_turn(2, "a1", 7, 100), "restored");
	ck_assert_int_eq(world_stats().kv_pages_pinned, 4);
	world_pass(61000);
	world_step();
	ck_assert_int_eq(world_stats().kv_pages_pinned, 0);
	/* It is forgotten, but for its file. */
	ck_assert_int_eq(session_member("a1", "pinned"), 0);
	ck_assert_int_gt(session_member("a1", "snapshot_bytes"), 0);
}
END_TEST

START_TEST(an_evicted_session_is_read_again)
{
	store_open(1 << 20);
	session_turn(1, "a1", 7, 100);
	save("a1");
	for (int i = 0; i < 12; i++)
		session_turn(10 + i, "b2", 20 + i, 300);
	ck_assert_int_eq(session_member("a1", "n_resident"), 0);
	ck_assert_str_eq(session_turn(2, "a1", 7, 100), "restored");
}
END_TEST

START_TEST(every_damaged_byte_is_noticed)
{
	struct session_store_stats st;
	size_t n, step;
	uint8_t *good, *bad;
	int refused = 0;
	struct err e;

	store_open(1 << 20);
	session_turn(1, "a1", 7, 40);
	save("a1");
	good = slurp_file("a1", &n);
	bad = malloc(n);
	session_restart();	/* nothing of it is in memory */
	/* Every byte of header and text; of pages, some. */
	for (size_t at = 0; at < n; at += step) {
		memcpy(bad, good, n);
		bad[at] ^= (uint8_t)(1 << at % 8);
		spit("a1", bad, n);
		ck_assert_msg(session_store_restore(store, "a1", &e) != 0,
		    "byte %zu", at);
		ck_assert_msg(e.code == ERR_BAD_FILE ||
		    e.code == ERR_UNSUPPORTED, "%zu: %s", at, e.text);
		refused++;
		step = at < 700 ? 1 : 37;
	}
	session_store_stats(store, &st);
	ck_assert_int_eq(st.refused, refused);
	ck_assert_int_eq(st.restored, 0);
	spit("a1", good, n);
	ck_assert_int_eq(session_store_restore(store, "a1", &e), 0);
	free(good);
	free(bad);
}
END_TEST

START_TEST(every_cut_is_noticed)
{
	struct err e;
	uint8_t *good;
	size_t n;

	store_open(1 << 20);
	session_turn(1, "a1", 7, 40);
	save("a1");
	good = slurp_file("a1", &n);
	for (size_t cut = 0; cut < n; cut += cut < 700 ? 1 : 29) {
		spit("a1", good, cut);
		ck_assert_int_eq(session_store_restore(store, "a1", &e),
		    ERR_BAD_FILE);
	}
	free(good);
}
END_TEST

/* Numbers that a checksum does not betray. */
START_TEST(sizes_that_do_not_add_up_are_noticed)
{
	static const struct {
		size_t at;
		uint64_t v;
	} lies[] = {
		{ 192, UINT64_MAX }, { 192, 31 }, { 192, 1 << 30 },
		{ 200, 0 }, { 200, UINT32_MAX }, { 200, 3 },
		{ 204, 0 }, { 204, UINT32_MAX }, { 204, 41 },
		{ 208, 0 }, { 208, UINT64_MAX },
		/* of the text */
		{ 256, 0 }, { 256, 32 }, { 256, UINT32_MAX },
		{ 260, UINT32_MAX }, { 260, 0 }, { 260, 1 << 30 },
		{ 264, UINT64_MAX },
		{ 272, UINT32_MAX }, { 272, 0 }, { 272, 65 },
		{ 276, UINT32_MAX }, { 276, 1 }, { 280, 129 },
		{ 284, UINT32_MAX }, { 284, 1 },
	};
	const struct snapshot_identity id = session_identity();
	struct snapshot_head h;
	struct session_copy c;
	struct err e;
	uint8_t *good;
	size_t n;

	store_open(1 << 20);
	session_turn(1, "a1", 7, 40);
	save("a1");
	good = slurp_file("a1", &n);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		uint8_t *bad = malloc(n);
		size_t size = (lies[i].at >= 192 && lies[i].at < 200) ||
		    (lies[i].at >= 208 && lies[i].at < 216) ||
		    lies[i].at == 264 ? 8 : 4;
		uint64_t n_text;
		uint32_t crc;

		memcpy(bad, good, n);
		memcpy(&n_text, bad + 192, 8);
		memcpy(bad + lies[i].at, &lies[i].v, size);
		crc = crc32c(0, bad + 256, n_text);
		memcpy(bad + 248, &crc, 4);
		crc = crc32c(0, bad, 252);
		memcpy(bad + 252, &crc, 4);
		c = (struct session_copy){ 0 };
		ck_assert_msg(snapshot_head(bad, &id, &h, &c, &e) != 0 ||
		    snapshot_text(bad + 256, &id, &h, &c, &e) != 0, "%zu", i);
		ck_assert_int_eq(e.code, ERR_BAD_FILE);
		free(bad);
	}
	free(good);
}
END_TEST

START_TEST(a_snapshot_of_something_else_is_refused_by_name)
{
	struct snapshot_identity id = session_identity();
	struct snapshot_head h;
	struct session_copy c;
	struct err e;
	uint8_t *good;
	size_t n;

	store_open(1 << 20);
	session_turn(1, "a1", 7, 40);
	save("a1");
	good = slurp_file("a1", &n);
	ck_assert_int_eq(snapshot_head(good, &id, &h, &c, &e), 0);
#define OTHER(change, word)                                                   \
	id = session_identity();                                              \
	change;                                                               \
	ck_assert_int_eq(snapshot_head(good, &id, &h, &c, &e),                \
	    ERR_UNSUPPORTED);                                                 \
	ck_assert_msg(strstr(e.text, word) != NULL, "%s", e.text)
	OTHER(strcpy(id.model, "fingerprinT"), "model");
	OTHER(strcpy(id.kv_format, "worl"), "KV cache");
	OTHER(id.tokenizer[31] = 1, "tokenizer");
	OTHER(id.page_bytes++, "pages");
	OTHER(id.n_ctx--, "context");
	free(good);
}
END_TEST

START_TEST(the_least_used_file_makes_room_and_a_pinned_one_does_not)
{
	struct session_store_stats st;
	struct err e;
	size_t n;

	store_open(1 << 20);
	session_turn(1, "01", 7, 100);
	save("01");
	free(slurp_file("01", &n));
	store_close(0);
	store_open((int64_t)(2 * n + n / 2));
	session_turn(2, "02", 8, 100);
	session_do("02", "pin");
	save("02");
	usleep(20000);
	session_turn(3, "03", 9, 100);
	save("03");
	ck_assert_int_eq(session_member("01", "saved"), 0);
	session_turn(4, "04", 10, 100);
	save("04");
	ck_assert_int_eq(session_member("03", "saved"), 0);
	ck_assert_int_eq(session_member("02", "saved"), 1);
	session_do("04", "pin");
	ck_assert_int_eq(session_store_save(store, "03", &e), ERR_STORAGE);
	session_store_stats(store, &st);
	ck_assert_int_eq(st.deleted, 2);
}
END_TEST

START_TEST(at_the_end_pinned_sessions_are_saved_first_and_others_for_a_while)
{
	store_open(1 << 20);
	session_turn(1, "01", 7, 100);
	world_pass(10);
	session_turn(2, "02", 8, 100);
	session_do("01", "pin");
	ck_assert_int_eq(store_close(0), 0);
	ck_assert_int_eq(session_member("01", "saved"), 1);
	ck_assert_int_eq(session_member("02", "saved"), 0);
	store_open(1 << 20);
	store_close(10000);
	ck_assert_int_eq(session_member("02", "saved"), 1);
}
END_TEST

START_TEST(a_directory_that_cannot_be_used_is_said)
{
	struct session_store_config c = { .dir = "/proc/sessions",
		.max_bytes = 1 << 20, .engine = world.en,
		.backend = &world.backend, .id = session_identity() };
	struct session_store *st;
	struct err e;

	ck_assert_int_eq(session_store_open(&c, &st, &e), ERR_SYSTEM);
	ck_assert_ptr_nonnull(strstr(e.text, "/proc/sessions"));
}
END_TEST

START_TEST(what_an_interrupted_save_left_is_deleted_and_strangers_stay)
{
	char path[200];

	spit("a1", "x", 1);
	snprintf(path, sizeof(path), "%s/a1.kv.abcDEF", session_dir);
	ck_assert_int_ge(creat(path, 0600), 0);
	spit("not-hex", "x", 1);
	store_open(1 << 20);
	ck_assert_int_ne(access(path, F_OK), 0);
	snprintf(path, sizeof(path), "%s/not-hex.kv", session_dir);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(world_stats().sessions, 0);
}
END_TEST

START_TEST(a_snapshot_that_finds_no_pages_leaves_the_session_cold)
{
	struct decode_accepted a;
	struct err e;

	store_open(1 << 20);
	session_turn(1, "a1", 7, 400);
	save("a1");
	session_restart();
	/* Two that run hold all pages. */
	ck_assert_int_eq(session_try(2, "b2", 30, 480, "'max_tokens':20", &a,
	    &e), 0);
	ck_assert_int_eq(session_try(3, "c3", 31, 470, "'max_tokens':20", &a,
	    &e), 0);
	for (int i = 0; i < 17; i++)
		world_step();
	ck_assert_int_eq(session_try(4, "a1", 7, 400, "'max_tokens':5", &a, &e),
	    0);
	ck_assert_str_eq(a.session_state, "cold");
	world_run();
	ck_assert_str_eq(world_heard(4)->finish, "length");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("snapshot");
	TCase *t = tcase_create("snapshot");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_session_comes_back_after_a_restart);
	tcase_add_test(t, what_was_pinned_is_pinned_again_until_its_lease_ends);
	tcase_add_test(t, an_evicted_session_is_read_again);
	tcase_add_test(t, every_damaged_byte_is_noticed);
	tcase_add_test(t, every_cut_is_noticed);
	tcase_add_test(t, sizes_that_do_not_add_up_are_noticed);
	tcase_add_test(t, a_snapshot_of_something_else_is_refused_by_name);
	tcase_add_test(t, the_least_used_file_makes_room_and_a_pinned_one_does_not);
	tcase_add_test(t,
	    at_the_end_pinned_sessions_are_saved_first_and_others_for_a_while);
	tcase_add_test(t, a_directory_that_cannot_be_used_is_said);
	tcase_add_test(t,
	    what_an_interrupted_save_left_is_deleted_and_strangers_stay);
	tcase_add_test(t, a_snapshot_that_finds_no_pages_leaves_the_session_cold);
	return session_main(s, t);
}

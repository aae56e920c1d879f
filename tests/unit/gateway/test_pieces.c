/*
 * Pieces that come late, twice, out of order or not at all.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "pieces.h"

static struct pieces p;
static struct buf text;		/* what was taken, in order */
static char finish[17];

/* They are 0 to n - 1. */
static void
check_tokens(size_t n)
{
	json_t *tokens = pieces_tokens(&p);

	ck_assert_uint_eq(json_array_size(tokens), n);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(json_integer_value(json_array_get(tokens, i)),
		    (json_int_t)i);
	json_decref(tokens);
}

static void
set_up(void)
{
	pieces_init(&p);
	finish[0] = '\0';
}

static void
tear_down(void)
{
	pieces_free(&p);
	buf_free(&text);
}

/* The piece of tokens seq to seq + n - 1; its text is a letter for each. */
static int
add_piece(int64_t seq, int n, const char *end, enum pieces_added *added)
{
	struct decode_piece d = {
		.id = "", .seq = seq, .finish = end, .tokens = json_array(),
		.logprobs = json_array(), .stats = json_object(), .vector = "",
	};
	char letters[64] = "";
	struct err e;
	int r;

	for (int i = 0; i < n; i++) {
		json_array_append_new(d.tokens, json_integer(seq + i));
		letters[i] = (char)('a' + seq + i);
	}
	d.text = letters;
	r = pieces_add(&p, &d, 0, added, &e);
	json_decref(d.tokens);
	json_decref(d.logprobs);
	json_decref(d.stats);
	return r;
}

static enum pieces_added
add(int64_t seq, int n, const char *end)
{
	enum pieces_added added = PIECES_OLD;

	ck_assert_int_eq(add_piece(seq, n, end, &added), 0);
	return added;
}

static const char *
taken(void)
{
	struct piece *list = pieces_take(&p);

	for (struct piece *i = list; i != NULL; i = i->next) {
		buf_add(&text, i->text, i->n_text);
		memcpy(finish, i->finish, sizeof(finish));
	}
	piece_list_free(list);
	return text.data != NULL ? text.data : "";
}

START_TEST(pieces_in_order_come_out_as_they_are)
{
	ck_assert_int_eq(add(0, 1, ""), PIECES_NEW);
	ck_assert_int_eq(add(1, 2, ""), PIECES_NEW);
	ck_assert_str_eq(taken(), "abc");
	ck_assert_int_eq(add(3, 1, "stop"), PIECES_NEW);
	ck_assert_str_eq(taken(), "abcd");
	ck_assert_str_eq(finish, "stop");
	ck_assert(p.finished);
	check_tokens(4);
	ck_assert_uint_eq(p.n_gaps, 0);
}
END_TEST

START_TEST(a_piece_that_comes_twice_counts_once)
{
	add(0, 1, "");
	ck_assert_int_eq(add(0, 1, ""), PIECES_OLD);
	add(1, 1, "length");
	ck_assert_int_eq(add(1, 1, "length"), PIECES_OLD);
	ck_assert_int_eq(add(0, 1, ""), PIECES_OLD);
	ck_assert_str_eq(taken(), "ab");
	ck_assert_uint_eq(p.n_diverged, 0);
}
END_TEST

START_TEST(what_follows_a_gap_waits_for_it)
{
	add(0, 1, "");
	ck_assert_int_eq(add(2, 1, ""), PIECES_GAP);
	ck_assert_int_eq(add(3, 1, "stop"), PIECES_GAP);
	ck_assert_int_eq(add(2, 1, ""), PIECES_GAP);
	ck_assert(pieces_gap(&p));
	ck_assert_str_eq(taken(), "a");
	ck_assert_int_eq(p.next, 1);
	ck_assert_int_eq(add(1, 1, ""), PIECES_NEW);
	ck_assert_str_eq(taken(), "abcd");
	ck_assert_str_eq(finish, "stop");
	ck_assert(!pieces_gap(&p));
	ck_assert_uint_eq(p.n_gaps, 1);
}
END_TEST

START_TEST(a_lost_last_piece_shows_in_the_status)
{
	add(0, 2, "");
	pieces_know(&p, 2);
	ck_assert(!pieces_gap(&p));
	pieces_know(&p, 3);
	ck_assert(pieces_gap(&p));
	add(2, 1, "stop");
	ck_assert(!pieces_gap(&p));
}
END_TEST

START_TEST(a_finish_alone_has_a_number_too)
{
	add(0, 1, "");
	pieces_know(&p, 2);
	ck_assert(pieces_gap(&p));
	ck_assert_int_eq(add(1, 0, "deadline"), PIECES_NEW);
	ck_assert_int_eq(add(1, 0, "deadline"), PIECES_OLD);
	ck_assert_str_eq(taken(), "a");
	ck_assert_str_eq(finish, "deadline");
	ck_assert_int_eq(p.next, 2);
}
END_TEST

START_TEST(a_flood_beyond_a_gap_is_bounded_and_replayed)
{
	for (int i = 0; i < PIECES_ASIDE_MAX + 50; i++)
		ck_assert_int_eq(add(1 + i, 1, ""), PIECES_GAP);
	ck_assert_int_eq(p.n_aside, PIECES_ASIDE_MAX);
	add(0, 1, "");
	ck_assert_int_eq(p.next, 1 + PIECES_ASIDE_MAX);
	ck_assert(pieces_gap(&p));	/* the 50 that were dropped are known */
	for (int i = 0; i < 50; i++)
		add(1 + PIECES_ASIDE_MAX + i, 1, "");
	ck_assert(!pieces_gap(&p));
}
END_TEST

START_TEST(other_tokens_at_the_same_place_are_noticed)
{
	struct decode_piece d = {
		.id = "", .seq = 0, .text = "z", .finish = "",
		.tokens = json_pack("[i]", 99), .logprobs = json_array(),
		.stats = json_object(), .vector = "",
	};
	enum pieces_added added;
	struct err e;

	add(0, 1, "");
	ck_assert_int_eq(pieces_add(&p, &d, 0, &added, &e), 0);
	ck_assert_int_eq(added, PIECES_OLD);
	ck_assert_uint_eq(p.n_diverged, 1);
	ck_assert_str_eq(taken(), "a");
	json_decref(d.tokens);
	json_decref(d.logprobs);
	json_decref(d.stats);
}
END_TEST

START_TEST(refuses_what_no_worker_sends)
{
	enum pieces_added added;

	ck_assert_int_eq(add_piece(0, 0, "", &added), ERR_BAD_MESSAGE);
	add(0, 2, "");
	ck_assert_int_eq(add_piece(1, 2, "", &added), ERR_BAD_MESSAGE);
	ck_assert_str_eq(taken(), "ab");
}
END_TEST

START_TEST(another_worker_starts_where_the_first_ended)
{
	add(0, 2, "");
	add(5, 1, "");
	pieces_know(&p, 9);
	pieces_restart(&p);
	ck_assert(!pieces_gap(&p));
	ck_assert_int_eq(add(2, 1, "stop"), PIECES_NEW);
	ck_assert_str_eq(taken(), "abc");
}
END_TEST

static struct piece
plain(int64_t seq, int32_t *id, const char *letter)
{
	return (struct piece){
		.seq = seq, .n_tokens = 1, .ids = id, .text = letter, .n_text = 1,
	};
}

START_TEST(a_plain_piece_is_as_good_as_another)
{
	int32_t ids[] = { 0, 1, 2 }, other = 7;
	struct piece v[] = { plain(0, &ids[0], "a"), plain(1, &ids[1], "b"),
		plain(2, &ids[2], "c"), plain(1, &other, "x") };
	enum pieces_added added = PIECES_OLD;
	struct err e;

	ck_assert_int_eq(pieces_add_plain(&p, &v[0], &added, &e), 0);
	ck_assert_int_eq(added, PIECES_NEW);
	ck_assert_int_eq(pieces_add_plain(&p, &v[2], &added, &e), 0);
	ck_assert_int_eq(added, PIECES_GAP);
	ck_assert_int_eq(pieces_add_plain(&p, &v[1], &added, &e), 0);
	ck_assert_int_eq(added, PIECES_NEW);
	ck_assert_int_eq(pieces_add_plain(&p, &v[1], &added, &e), 0);
	ck_assert_int_eq(added, PIECES_OLD);
	ck_assert_uint_eq(p.n_diverged, 0);
	ck_assert_int_eq(pieces_add_plain(&p, &v[3], &added, &e), 0);
	ck_assert_uint_eq(p.n_diverged, 1);
	ck_assert_str_eq(taken(), "abc");
	check_tokens(3);
}
END_TEST

START_TEST(a_piece_passes_only_where_it_is_next)
{
	int32_t ids[] = { 0, 1, 2 };
	struct piece v[] = { plain(0, &ids[0], "a"), plain(1, &ids[1], "b"),
		plain(2, &ids[2], "c") };
	struct err e;

	ck_assert(!pieces_at(&p, 1));
	ck_assert(pieces_at(&p, 0));
	ck_assert_int_eq(pieces_pass(&p, &v[0], &e), 0);
	ck_assert(!pieces_gap(&p));
	ck_assert(!pieces_at(&p, 0));
	add(2, 1, "");		/* one aside */
	ck_assert(!pieces_at(&p, 1));
	add(1, 1, "");		/* two to be taken before it */
	ck_assert(!pieces_at(&p, 3));
	ck_assert_str_eq(taken(), "bc");
	ck_assert(pieces_at(&p, 3));
	add(3, 1, "stop");
	taken();
	ck_assert(!pieces_at(&p, 4));
	check_tokens(4);
	ck_assert_str_eq(p.text.data, "abcd");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pieces");
	TCase *t = tcase_create("pieces");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, pieces_in_order_come_out_as_they_are);
	tcase_add_test(t, a_piece_that_comes_twice_counts_once);
	tcase_add_test(t, what_follows_a_gap_waits_for_it);
	tcase_add_test(t, a_lost_last_piece_shows_in_the_status);
	tcase_add_test(t, a_finish_alone_has_a_number_too);
	tcase_add_test(t, a_flood_beyond_a_gap_is_bounded_and_replayed);
	tcase_add_test(t, other_tokens_at_the_same_place_are_noticed);
	tcase_add_test(t, refuses_what_no_worker_sends);
	tcase_add_test(t, another_worker_starts_where_the_first_ended);
	tcase_add_test(t, a_plain_piece_is_as_good_as_another);
	tcase_add_test(t, a_piece_passes_only_where_it_is_next);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * Random sequences on few pages.  What a position of a page holds is a hash of
 * all tokens up to it, so a wrong share, copy or eviction is seen at once; the
 * counts are compared with those of a model that counts anew each time.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kv_cache.h"
#include "slow.h"

enum { PAGES = 24, SEQS = 6, LEN = 8 * KV_PAGE, PINS = 4, RESERVED = 8,
	ROUNDS = SLOW ? 4000 : 20000 };

struct seq {
	bool open;
	struct kv_seq q;
	int32_t pages[LEN / KV_PAGE], tokens[LEN], n_tokens, n_fed;
};

static struct {
	struct kv_cache c;
	uint64_t mem[PAGES][KV_PAGE];	/* what is in the pages */
	struct seq seqs[SEQS];
	int32_t pins[PINS];
	uint32_t random;
	int64_t n_found, n_parts, n_refused;
} w;

static uint32_t
below(uint32_t n)
{
	w.random = w.random * 1664525 + 1013904223;
	return (w.random >> 8) % n;
}

static uint64_t
more(uint64_t h, int32_t token)
{
	return (h ^ (uint64_t)(token + 1)) * 1099511628211u;
}

static uint64_t
hash(uint64_t salt, const int32_t *tokens, int32_t n)
{
	uint64_t h = 14695981039346656037u ^ salt;

	for (int32_t i = 0; i < n; i++)
		h = more(h, tokens[i]);
	return h;
}

static void
setup(void)
{
	struct err e;

	memset(&w, 0, sizeof(w));
	w.random = 7;
	ck_assert_int_eq(kv_cache_init(&w.c, PAGES, RESERVED, true, &e), 0);
	for (int i = 0; i < PINS; i++)
		w.pins[i] = KV_NONE;
}

static void
teardown(void)
{
	kv_cache_finish(&w.c);
}

/* Feed tokens up to n; their pages are there. */
static void
feed(struct seq *s, int32_t n)
{
	for (; s->n_fed < n; s->n_fed++) {
		int32_t page = s->q.pages[s->n_fed / KV_PAGE];

		ck_assert_int_eq(w.c.tree.nodes[page].refs, 1);
		ck_assert_int_eq(w.c.tree.nodes[page].n_tokens, 0);
		w.mem[page][s->n_fed % KV_PAGE] = hash(s->q.salt, s->tokens,
		    s->n_fed + 1);
	}
	kv_cache_commit(&w.c, &s->q, s->tokens, s->n_fed);
}

/* As the scheduler does it. */
static bool
begin(struct seq *s, uint64_t salt, bool alone, const int32_t *tokens,
    int32_t n)
{
	int32_t from, n_same = 0;

	s->q = (struct kv_seq){ .pages = s->pages, .room = LEN / KV_PAGE,
		.salt = salt, .alone = alone };
	memmove(s->tokens, tokens, (size_t)n * sizeof(*tokens));
	s->n_tokens = n;
	s->n_fed = kv_cache_match(&w.c, &s->q, s->tokens, 0, n - 1);
	from = kv_cache_hold_part(&w.c, &s->q, s->tokens + s->n_fed,
	    n - 1 - s->n_fed, &n_same);
	w.n_found += s->n_fed > 0;
	if (!kv_cache_grow(&w.c, &s->q, n)) {
		kv_cache_drop(&w.c, from);
		kv_cache_release(&w.c, &s->q, s->tokens, s->n_fed);
		w.n_refused++;
		return false;
	}
	if (from != KV_NONE) {
		memcpy(w.mem[s->q.pages[s->q.n_shared]], w.mem[from],
		    (size_t)n_same * sizeof(w.mem[0][0]));
		s->n_fed += n_same;
		kv_cache_drop(&w.c, from);
		w.n_parts++;
	}
	return s->open = true;
}

static void
end(struct seq *s)
{
	kv_cache_release(&w.c, &s->q, s->tokens, s->n_fed);
	ck_assert_int_eq(s->q.n_pages, 0);
	s->open = false;
}

static void
check_contents(void)
{
	for (int i = 0; i < SEQS; i++) {
		const struct seq *s = &w.seqs[i];
		uint64_t h = hash(s->q.salt, NULL, 0);
		bool same = true;

		for (int32_t p = 0; s->open && p < s->n_fed; p++) {
			h = more(h, s->tokens[p]);
			same = same && w.mem[s->q.pages[p / KV_PAGE]]
			    [p % KV_PAGE] == h;
		}
		ck_assert(same);
	}
}

/* References and pins, counted anew. */
static void
check_counts(void)
{
	int32_t refs[PAGES] = { 0 }, pins[PAGES] = { 0 }, n_pinned = 0;
	const struct kv_tree *t = &w.c.tree;
	bool same = true;

	for (int i = 0; i < SEQS; i++)
		for (int32_t k = 0; w.seqs[i].open &&
		    k < w.seqs[i].q.n_pages; k++)
			refs[w.seqs[i].q.pages[k]]++;
	for (int i = 0; i < PINS; i++)
		for (int32_t p = w.pins[i]; p != KV_NONE;
		    p = t->nodes[p].parent) {
			refs[p]++;
			pins[p]++;
		}
	for (int32_t p = 0; p < PAGES; p++) {
		same = same && t->nodes[p].refs == refs[p] &&
		    t->nodes[p].pins == pins[p];
		n_pinned += pins[p] > 0;
	}
	ck_assert(same);
	ck_assert_int_eq(t->n_pinned, n_pinned);
	ck_assert_int_le(n_pinned, PAGES - RESERVED);
}

/* Each page that nobody needs is free or cached, not both; children are evicted
 * before their parents. */
static void
check_lists(void)
{
	const struct kv_tree *t = &w.c.tree;
	int32_t n_free = 0, n_cached = 0, n_idle = 0, place[PAGES] = { 0 };

	for (int32_t p = t->free; p != KV_NONE; p = t->nodes[p].newer) {
		ck_assert_int_eq(t->nodes[p].refs, 0);
		ck_assert_int_eq(t->nodes[p].n_tokens, 0);
		n_free++;
	}
	for (int32_t p = t->oldest; p != KV_NONE; p = t->nodes[p].newer) {
		ck_assert_int_eq(t->nodes[p].refs, 0);
		ck_assert_int_gt(t->nodes[p].n_tokens, 0);
		place[p] = ++n_cached;
	}
	for (int32_t p = 0; p < PAGES; p++) {
		int32_t parent = t->nodes[p].parent;

		n_idle += t->nodes[p].refs == 0;
		if (t->nodes[p].n_tokens == 0 || parent == KV_NONE)
			continue;
		ck_assert_int_eq(t->nodes[parent].n_tokens, KV_PAGE);
		if (t->nodes[parent].refs == 0)
			ck_assert_int_gt(place[parent], place[p]);
	}
	ck_assert_int_eq(n_free, t->n_free);
	ck_assert_int_eq(n_cached, t->n_cached);
	ck_assert_int_eq(n_free + n_cached, n_idle);
}

/* Tokens that often begin as others do. */
static int32_t
write_tokens(int32_t *to)
{
	int32_t n = 1 + (int32_t)below(LEN - 1);
	int32_t fork = (int32_t)below((uint32_t)n + 1), kind = (int32_t)below(3);

	for (int32_t i = 0; i < n; i++)
		to[i] = i < fork ? kind : (int32_t)below(2);
	return n;
}

static void
pin_or_unpin(void)
{
	int32_t tokens[LEN], n = write_tokens(tokens), n_found, page;
	int32_t *pin = &w.pins[below(PINS)], was = w.c.tree.n_pinned;

	if (*pin != KV_NONE) {
		kv_cache_unpin(&w.c, *pin);
		*pin = KV_NONE;
		return;
	}
	page = kv_cache_find(&w.c, below(2), tokens, n, &n_found);
	ck_assert(page != KV_NONE || n_found == 0);
	if (page != KV_NONE && kv_cache_pin(&w.c, page, NULL) == 0)
		*pin = page;
	else
		ck_assert_int_eq(w.c.tree.n_pinned, was);
}

static void
act(void)
{
	struct seq *s = &w.seqs[below(SEQS)];
	int32_t tokens[LEN], n;
	uint64_t salt;

	switch (below(8)) {
	case 0:
		pin_or_unpin();
		break;
	case 1:
		if (s->open)
			end(s);
		break;
	default:
		n = write_tokens(tokens);
		if (!s->open) {
			salt = below(2);
			begin(s, salt, below(8) == 0, tokens, n);
			break;
		}
		if (s->n_fed == s->n_tokens && s->n_tokens < LEN &&
		    kv_cache_grow(&w.c, &s->q, s->n_tokens + 1))
			s->tokens[s->n_tokens++] = (int32_t)below(2);
		else
			s->n_fed = kv_cache_match(&w.c, &s->q, s->tokens,
			    s->n_fed, s->n_tokens - 1);
		n = s->n_fed + 1 + (int32_t)below(50);
		feed(s, n < s->n_tokens ? n : s->n_tokens);
	}
}

START_TEST(nothing_is_mixed_up_and_nothing_is_lost)
{
	if (_i == 1)
		w.c.tree.mask = 0;	/* all in one bucket */
	for (int i = 0; i < ROUNDS; i++) {
		act();
		check_contents();
		check_counts();
		check_lists();
	}
	/* each way was gone often, not once by chance */
	ck_assert_int_gt(w.n_found, ROUNDS / 67);
	ck_assert_int_gt(w.n_parts, ROUNDS / 67);
	ck_assert_int_gt(w.n_refused, ROUNDS / 400);
	ck_assert_int_gt(w.c.tree.n_evictions, ROUNDS / 67);
	for (int i = 0; i < SEQS; i++)
		if (w.seqs[i].open)
			end(&w.seqs[i]);
	for (int i = 0; i < PINS; i++)
		if (w.pins[i] != KV_NONE)
			kv_cache_unpin(&w.c, w.pins[i]);
	ck_assert_int_eq(kv_cache_available(&w.c), PAGES);
}
END_TEST

/* A sequence of n pages of token, fed and let go of. */
static void
visit(int32_t token, int32_t n)
{
	struct seq *s = &w.seqs[0];
	int32_t tokens[LEN];

	for (int32_t i = 0; i < n * KV_PAGE; i++)
		tokens[i] = token;
	ck_assert(begin(s, 0, false, tokens, n * KV_PAGE));
	feed(s, s->n_tokens);
	end(s);
}

/* Pages that are known of what visit(token) left. */
static int32_t
n_known(int32_t token)
{
	int32_t tokens[LEN], n;

	for (int32_t i = 0; i < LEN; i++)
		tokens[i] = token;
	kv_cache_find(&w.c, 0, tokens, LEN, &n);
	return n / KV_PAGE;
}

START_TEST(the_least_recently_used_goes_first_and_its_end_before_its_beginning)
{
	static const int32_t left[][3] = { { 6, 5, 6 }, { 6, 2, 6 }, { 6, 0, 6 },
		{ 6, 0, 1 }, { 6, 0, 0 }, { 3, 0, 0 } };
	static const int32_t taken[] = { 1 + 6, 3, 2, 5, 1, 3 };
	struct kv_seq q = { .pages = w.seqs[1].pages, .room = PAGES };
	int32_t pages[PAGES], n = 0;

	q.pages = pages;
	for (int32_t token = 0; token < 3; token++)
		visit(token, 6);
	visit(0, 6);		/* used again */
	for (int i = 0; i < 6; i++) {
		n += taken[i];
		ck_assert(kv_cache_grow(&w.c, &q, n * KV_PAGE));
		for (int32_t token = 0; token < 3; token++)
			ck_assert_int_eq(n_known(token), left[i][token]);
	}
	ck_assert_int_eq(w.c.tree.n_evictions, 15);
	kv_cache_release(&w.c, &q, NULL, 0);
}
END_TEST

START_TEST(what_is_pinned_stays_and_leaves_room_for_a_context)
{
	struct kv_seq q = { .pages = w.seqs[1].pages, .room = PAGES };
	int32_t pages[PAGES], tokens[LEN] = { 0 }, n, page, again;
	struct err e;

	q.pages = pages;
	visit(0, 6);
	visit(1, 6);
	visit(2, 6);
	page = kv_cache_find(&w.c, 0, tokens, 6 * KV_PAGE, &n);
	ck_assert_int_eq(n, 6 * KV_PAGE);
	ck_assert_int_eq(kv_cache_pin(&w.c, page, &e), 0);
	ck_assert_int_eq(kv_cache_pin(&w.c, page, &e), 0);	/* costs nothing */
	ck_assert_int_eq(w.c.tree.n_pinned, 6);
	for (int i = 0; i < LEN; i++)
		tokens[i] = 1;
	again = kv_cache_find(&w.c, 0, tokens, 6 * KV_PAGE, &n);
	ck_assert_int_eq(kv_cache_pin(&w.c, again, &e), 0);
	for (int i = 0; i < LEN; i++)
		tokens[i] = 2;
	again = kv_cache_find(&w.c, 0, tokens, 6 * KV_PAGE, &n);
	ck_assert_int_eq(kv_cache_pin(&w.c, again, &e), ERR_BUSY);
	ck_assert_str_eq(e.text, "12 pages of the KV cache are pinned, 6 more "
	    "would be over the limit of 16");
	ck_assert(kv_cache_grow(&w.c, &q, (PAGES - 12) * KV_PAGE));
	ck_assert(!kv_cache_grow(&w.c, &q, (PAGES - 11) * KV_PAGE));
	ck_assert_int_eq(n_known(0), 6);
	ck_assert_int_eq(n_known(1), 6);
	ck_assert_int_eq(n_known(2), 0);
	kv_cache_unpin(&w.c, page);
	ck_assert_int_eq(w.c.tree.n_pinned, 12);
	kv_cache_unpin(&w.c, page);
	ck_assert_int_eq(w.c.tree.n_pinned, 6);
	ck_assert(kv_cache_grow(&w.c, &q, (PAGES - 6) * KV_PAGE));
	kv_cache_release(&w.c, &q, NULL, 0);
}
END_TEST

START_TEST(twins_become_one)
{
	struct seq *a = &w.seqs[0], *b = &w.seqs[1];
	int32_t tokens[LEN] = { 0 };

	ck_assert(begin(a, 0, false, tokens, 2 * KV_PAGE));
	ck_assert(begin(b, 0, false, tokens, 2 * KV_PAGE));
	feed(a, 2 * KV_PAGE);
	feed(b, 2 * KV_PAGE);
	ck_assert_mem_eq(a->pages, b->pages, 2 * sizeof(*a->pages));
	ck_assert_int_eq(kv_cache_available(&w.c), PAGES - 2);
	end(a);
	check_contents();
	end(b);
}
END_TEST

START_TEST(without_sharing_nothing_is_kept)
{
	w.c.sharing = false;
	visit(0, 6);
	ck_assert_int_eq(n_known(0), 0);
	ck_assert_int_eq(w.c.tree.n_free, PAGES);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("kv_cache");
	TCase *t = tcase_create("kv_cache");
	SRunner *r = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, nothing_is_mixed_up_and_nothing_is_lost, 0, 2);
	tcase_add_test(t,
	    the_least_recently_used_goes_first_and_its_end_before_its_beginning);
	tcase_add_test(t, what_is_pinned_stays_and_leaves_room_for_a_context);
	tcase_add_test(t, twins_become_one);
	tcase_add_test(t, without_sharing_nothing_is_kept);
	suite_add_tcase(suite, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

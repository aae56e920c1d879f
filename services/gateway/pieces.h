#ifndef GATEWAY_PIECES_H
#define GATEWAY_PIECES_H

#include <stdbool.h>

#include "buf.h"
#include "decode.h"

/*
 * The pieces of one generation put in order: what comes in may be late, twice
 * or missing, what goes out is each token once.  (What proto/decode.h asks of a
 * subscriber.)  No clock, no lock, no bus: the caller has those.
 */
struct piece {
	struct piece *next;
	int64_t seq, n_tokens;
	int64_t time_us;	/* when its event was published, or 0: replayed */
	int32_t *ids;		/* of its tokens, until they are in order; owned */
	json_t *logprobs;	/* array, one per token, or NULL; owned */
	json_t *prompt_logprobs;/* of the first piece, likewise; owned */
	json_t *stats;		/* of the first and the last, else NULL; owned */
	char *vector;		/* base64, or NULL; owned */
	char finish[17];	/* "" or why it ended */
	size_t n_text;
	const char *text;	/* n_text bytes, UTF-8; lives as long as this */
};

struct pieces {
	int64_t next;		/* seq of the first token that is not here */
	int64_t known;		/* the worker has the tokens before this one */
	struct buf ids;		/* int32_t of all tokens before next, in order */
	struct buf text;	/* what they made final */
	struct piece *first, **last;	/* in order, to be taken */
	struct piece *aside;	/* after a gap, by seq */
	int n_aside;
	bool finished;		/* the last piece is, or was, in the list */
	unsigned n_gaps, n_diverged;
};

enum pieces_added {
	PIECES_NEW,		/* there is more to take */
	PIECES_OLD,		/* all of it was here already */
	PIECES_GAP,		/* kept aside: ask for what is missing */
};

/* Kept aside at most; what is beyond is dropped and replayed. */
enum { PIECES_ASIDE_MAX = 256 };

void pieces_init(struct pieces *p);
void pieces_free(struct pieces *p);

/* Begin with these tokens (copied) and their text, as if they had come and been
 * taken; right after pieces_init.  ERR_NO_MEMORY. */
int pieces_preset(struct pieces *p, const json_t *tokens, const char *text,
    size_t n_text, struct err *e);

/*
 * One entry of a step event (time_us: its time) or of a replay (0).  Sets
 * *added.  All of d is copied, to the last number: it is freed by another
 * thread, and Jansson's counts of references are not made for two.
 * ERR_BAD_MESSAGE if d cannot be what a worker sends: a piece without tokens or
 * finish, tokens that are no ids, a piece that overlaps what is here only in
 * part.  ERR_NO_MEMORY.
 */
int pieces_add(struct pieces *p, const struct decode_piece *d, int64_t time_us,
    enum pieces_added *added, struct err *e);

/* The same of a piece that is tokens [n > 0] with their text and nothing else. */
int pieces_add_plain(struct pieces *p, const struct piece *plain,
    enum pieces_added *added, struct err *e);

/*
 * A way around the list, for a taker who is there: would a piece that begins at seq
 * be the next to be taken?  Then, once it was, pieces_pass: as if it had been added
 * and taken.  plain: as above, also ids.  ERR_NO_MEMORY.
 */
bool pieces_at(const struct pieces *p, int64_t seq);
int pieces_pass(struct pieces *p, const struct piece *plain, struct err *e);

/* All tokens that are in order, as a list of ids: a new reference, or NULL if memory
 * is short. */
json_t *pieces_tokens(const struct pieces *p);

/* The worker says that it has all tokens before next_seq. */
void pieces_know(struct pieces *p, int64_t next_seq);

/* Is something missing that the worker is known to have? */
bool pieces_gap(const struct pieces *p);

/* Forget what is aside and known: it was another worker's. */
void pieces_restart(struct pieces *p);

/* All pieces that are in order, as a list; the caller frees it. */
struct piece *pieces_take(struct pieces *p);
void piece_list_free(struct piece *p);

#endif

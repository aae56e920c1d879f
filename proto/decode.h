#ifndef PROTO_DECODE_H
#define PROTO_DECODE_H

#include "field.h"

/*
 * The decode worker: prompts in, tokens and text out.
 *
 *	REP	decode.sock		requests, answered at once (and proto/unit.h)
 *	PUB	decode-events.sock	events
 *
 *	gateway				decode
 *	  | -- generate ----------------> |
 *	  | <--------- accepted, or error |
 *	  | <--- step 1 {a 0, b 0, c 0} - |	published: one a step, with the
 *	  | <--- step 2 {a 1, b 1, c 1} - |	new piece of every request in it (of
 *	  |                               |	more than 32 requests in parts)
 *	  |     (step 3 never came)       |
 *	  | <--- step 4 {a 3, b 3, c 3} - |
 *	  | -- replay a from_seq=2 -----> |
 *	  | <--- replayed {a 2, a 3} ---- |
 *	  | -- ack {a: 4} --------------> |	every 500 ms, all requests in one;
 *	  | <--- acked ------------------ |	it renews their leases
 *	  | <--- step 9 {a 8 "length"} -- |	the last piece of a names its finish
 *	  | <--- status ----------------- |	every 250 ms: boot, queue, last seqs
 *
 * PUB drops what a slow subscriber does not take.  So the tokens of a request
 * are numbered (seq: index in its generation, forced ones included), the worker
 * keeps its pieces until they are acknowledged or the lease ends, and whoever
 * sees a gap, or hears nothing for two status periods, asks for them.
 *
 * generate is idempotent by (boot, id, attempt): a repeated one is answered
 * from the state of the first and never runs twice.
 *
 * A message is declared once: its number and name in DECODE_MESSAGES, its
 * members in the list named there.  Numbers are never reused.
 */
#define DECODE_MESSAGES(M)                                                   \
	M(16, generate, DECODE_GENERATE, "start one request, or find it")    \
	M(17, accepted, DECODE_ACCEPTED, "reply: it runs or is queued")      \
	M(18, cancel, DECODE_CANCEL, "stop it; an unknown id is fine")       \
	M(19, cancelled, DECODE_CANCELLED, "reply")                          \
	M(20, replay, DECODE_REPLAY, "ask for pieces again")                 \
	M(21, replayed, DECODE_REPLAYED, "reply: the pieces that are kept")  \
	M(22, ack, DECODE_ACK, "pieces taken; renews leases")                \
	M(23, acked, DECODE_ACKED, "reply: ids the worker does not know")    \
	M(24, tokenize, DECODE_TOKENIZE, "text or a chat to ids")            \
	M(25, tokens, DECODE_TOKENS, "reply")                                \
	M(26, detokenize, DECODE_DETOKENIZE, "ids to text")                  \
	M(27, text, DECODE_TEXT, "reply")                                    \
	M(28, model_info, DECODE_MODEL_INFO, "which model is this")          \
	M(29, model_info_is, DECODE_MODEL_INFO_IS, "reply")                  \
	M(30, step, DECODE_STEP, "event: what one step added")               \
	M(31, status, DECODE_STATUS, "event: heartbeat")                     \
	M(32, session, DECODE_SESSION, "look at a conversation, or act on it") \
	M(33, session_is, DECODE_SESSION_IS, "reply: it is so afterwards")   \
	M(34, sessions, DECODE_SESSIONS, "which conversations are known")    \
	M(35, sessions_are, DECODE_SESSIONS_ARE, "reply: a part of them")    \
	M(36, slots, DECODE_SLOTS, "what each slot does")                    \
	M(37, slots_are, DECODE_SLOTS_ARE, "reply")                          \
	M(38, last_step, DECODE_LAST_STEP, "who was at work when it died")   \
	M(39, last_step_is, DECODE_LAST_STEP_IS, "reply: of the life before this") \
	M(40, render, DECODE_RENDER, "a chat as text; answered by text")

enum {
	DECODE_ID_LEN = 32,		/* 128 bits in hex, chosen by the client */
	DECODE_BOOT_LEN = 16,		/* 64 bits in hex */
	DECODE_PROMPT_MAX = 1 << 20,	/* bytes of text of one request */
	DECODE_CTX_MAX = 1 << 20,	/* tokens; bounds prompt and generation */
	DECODE_REQUESTS_MAX = 1024,	/* held at once: running, queued, unacked */
	DECODE_REPLAY_MAX = 256,	/* pieces in one reply; ask again for more */
	DECODE_STOPS_MAX = 16,		/* stop strings of one request */
	DECODE_LOGPROBS_MAX = 20,	/* alternatives per token */
	DECODE_PROMPT_LOGPROBS_MAX = 16384,	/* of a prompt, with alternatives */
	DECODE_STEP_PIECES = 32,	/* in an event: more come in parts, but not */
	DECODE_STEP_PARTS = 4,		/* in more parts than these */
	DECODE_STATUS_MS = 250,		/* between two status events */
	DECODE_LEASE_MS = 2000,		/* default lease */
	DECODE_UNACKED_MAX = 256,	/* tokens; then that request pauses */
	DECODE_SESSION_LEN = 64,	/* of a session's key, at most */
	DECODE_SESSION_NAME = 128,	/* of what the client calls it */
	DECODE_SESSIONS_MAX = 256,	/* in one reply; ask again for more */
};

#define DECODE_ID(F) \
	F(STR, id, DECODE_ID_LEN, DECODE_ID_LEN, NULL, "bytes", "of the request")

#define DECODE_BOOT(F)                                           \
	F(STR, boot, DECODE_BOOT_LEN, DECODE_BOOT_LEN, NULL, "bytes", \
	    "of this life of the worker")

/*
 * Element of the events of step and replayed.  A piece covers the tokens seq to
 * seq + len(tokens) - 1.  text is what they make final: whole UTF-8 characters,
 * without what may begin a stop string, so it may be empty or lag.  finish is
 * "" or: stop (end token or stop string), length, cancel, deadline, error.  It
 * travels with the last token, or alone for cancel, deadline and error.
 * stats comes with the first piece that the worker makes: n_prompt, n_cached (of
 * those, what was in the KV cache already; tokens), queue_ms, prefill_ms; and
 * with finish, which adds n_generated and decode_ms.  logprobs has one element
 * per token if asked for:
 * {id, logprob, text_b64, top: [{id, logprob, text_b64}]}, and special: true for a
 * token that is not in the text.  Those of a prompt are the same, without logprob
 * and top for the first token.
 */
#define DECODE_PIECE(F) DECODE_ID(F)                                          \
	F(INT, seq, 0, DECODE_CTX_MAX, NULL, "", "index of the first token")  \
	F(JSON, tokens, 0, DECODE_CTX_MAX, "[]", "ids", "may be empty at finish") \
	F(STR, text, 0, 4 << 20, "\"\"", "bytes", "what became final")        \
	F(JSON, logprobs, 0, DECODE_CTX_MAX, "[]", "tokens", "see above")     \
	F(JSON, prompt_logprobs, 0, DECODE_CTX_MAX, "[]", "tokens",           \
	    "in the first piece, if asked for: of the prompt")                \
	F(STR, finish, 0, 16, "\"\"", "bytes", "why it ended, in the last piece") \
	F(STR, vector, 0, 1 << 20, "\"\"", "bytes",                           \
	    "of pooling, in the last piece: base64 of little-endian f32")     \
	F(JSON, stats, 0, 32, "{}", "members", "first and last: counts and times")

/*
 * A session is a conversation whose KV pages and tokens the worker remembers:
 * a hint, which saves time and never changes what is asked.  Its key is made by
 * the gateway (lower-case hex) of the client's key and name, owner stands for
 * that key ("": nobody), name is what the client called it.  A request of a
 * session that runs another one waits for it, or is refused with SESSION_BUSY if
 * session_busy is "fail".
 */
#define DECODE_SESSION_OF(F)                                                  \
	F(STR, session, 0, DECODE_SESSION_LEN, "\"\"", "hex", "key; \"\": none") \
	F(STR, session_owner, 0, DECODE_SESSION_LEN, "\"\"", "hex",           \
	    "whose it is")                                                    \
	F(STR, session_name, 0, DECODE_SESSION_NAME, "\"\"", "bytes",         \
	    "shown in lists")                                                 \
	F(INT, session_ttl_ms, 0, 2592000000., "0", "ms",                     \
	    "after its last turn it is forgotten; 0: as the worker is set")   \
	F(STR, session_busy, 0, 8, "\"\"", "bytes",                           \
	    "if it runs another request: \"\" wait, \"fail\" refuse")

/*
 * The prompt is one of: messages [{role, content, reasoning}] (the model's chat
 * template is applied; reasoning may lack), prompt (plain text, BOS added,
 * specials not parsed), prompt_ids (used as they are).  Exactly one is not empty.
 */
#define DECODE_GENERATE(F) DECODE_ID(F)                                       \
	F(INT, attempt, 0, 1 << 20, "0", "", "of the same request, by the gateway") \
	F(JSON, messages, 0, 4096, "[]", "messages", "a chat")                \
	F(STR, prompt, 0, DECODE_PROMPT_MAX, "\"\"", "bytes", "plain text")   \
	F(JSON, prompt_ids, 0, DECODE_CTX_MAX, "[]", "ids", "tokens")         \
	F(JSON, forced, 0, DECODE_CTX_MAX, "[]", "ids",                       \
	    "generated before a restart: accepted again, not published")      \
	F(INT, max_tokens, 0, DECODE_CTX_MAX, "0", "tokens",                  \
	    "limit, forced ones included; 0: to the end of the context")      \
	F(REAL, temperature, 0, 2, "1", "", "0 is greedy")                    \
	F(INT, top_k, 0, 1 << 20, "0", "tokens", "0: all")                    \
	F(REAL, top_p, 0, 1, "1", "", "nucleus; 1: all")                      \
	F(REAL, min_p, 0, 1, "0", "", "relative to the most likely; 0: all")  \
	F(INT, min_keep, 0, 1 << 20, "0", "tokens",                           \
	    "that top_p and min_p leave at least")                            \
	F(REAL, repeat_penalty, 0.01, 10, "1", "", "1: none (CTRL, section 4.1)") \
	F(INT, repeat_last_n, 0, DECODE_CTX_MAX, "64", "tokens",              \
	    "window of the three penalties; 0: the whole context")            \
	F(REAL, frequency_penalty, -2, 2, "0", "", "per occurrence generated") \
	F(REAL, presence_penalty, -2, 2, "0", "", "once, if generated")       \
	F(JSON, logit_bias, 0, 1024, "{}", "members", "{id: -100..100}")      \
	F(INT, seed, 0, 9007199254740991., "0", "", "of the counter-based RNG") \
	F(JSON, stop, 0, DECODE_STOPS_MAX, "[]", "strings", "1 to 256 bytes each") \
	F(BOOL, ignore_eos, 0, 0, "false", "", "go on past the end token")    \
	F(BOOL, think, 0, 0, "true", "", "false: the template asks for no thoughts") \
	F(INT, logprobs, -1, DECODE_LOGPROBS_MAX, "-1", "alternatives",       \
	    "per token; -1: none wanted, 0: the token's own only")            \
	F(BOOL, prompt_logprobs, 0, 0, "false", "", "of the prompt, too")     \
	F(STR, pooling, 0, 8, "\"\"", "bytes", "mean or last: no tokens are "  \
	    "generated, the last piece has the vector of the prompt")         \
	F(BOOL, cache_prompt, 0, 0, "true", "",                               \
	    "share pages with others that begin with the same tokens")        \
	F(INT, cache_salt, 0, 9007199254740991., "0", "",                     \
	    "share them only with requests that have the same one")           \
	F(INT, client, 0, 9007199254740991., "0", "",                         \
	    "slots and prompt rows are divided fairly by it; 0: by request")  \
	F(INT, deadline_ms, 0, 86400000, "0", "ms", "from now; 0: none")      \
	F(INT, lease_ms, 100, 86400000, "2000", "ms", "without an ack it ends") \
	F(INT, solo_seq, -1, DECODE_CTX_MAX, "-1", "",                        \
	    "nobody else is in its steps until this token is made")           \
	F(STR, fingerprint, 0, 64, "\"\"", "hex",                             \
	    "of the weights that are to answer, else LOADING; \"\": any")     \
	F(STR, request, 0, 128, "\"\"", "bytes", "what its client's request is called, in logs") \
	F(STR, trace, 0, 64, "\"\"", "bytes", "its W3C traceparent, likewise") \
	DECODE_SESSION_OF(F)

#define DECODE_ACCEPTED(F) DECODE_ID(F) DECODE_BOOT(F)                        \
	F(INT, n_prompt, 1, DECODE_CTX_MAX, NULL, "tokens", "prompt length")  \
	F(INT, n_ctx, 1, DECODE_CTX_MAX, NULL, "tokens", "context of a request") \
	F(INT, max_tokens, 0, DECODE_CTX_MAX, NULL, "tokens", "limit in force") \
	F(INT, queue, 0, DECODE_REQUESTS_MAX, NULL, "requests", "ahead of it") \
	F(INT, n_cached, 0, DECODE_CTX_MAX, "0", "tokens",                    \
	    "of the prompt, in the KV cache now")                             \
	F(STR, session_state, 0, 16, "\"\"", "bytes", "see below")            \
	F(JSON, prompt_ids, 0, DECODE_CTX_MAX, "[]", "ids",                   \
	    "if it is not what the text alone would give: send it in place of " \
	    "the text when the request goes on in another life")

/*
 * session_state: "" no session named; new: not known before; warm: its pages are
 * here; restored: they were read from its snapshot; evicted: they were, and
 * memory was needed; cold: it is known and nothing of it serves this prompt.
 */

#define DECODE_CANCEL(F) DECODE_ID(F)
#define DECODE_CANCELLED(F) DECODE_ID(F)

#define DECODE_REPLAY(F) DECODE_ID(F) DECODE_BOOT(F) \
	F(INT, from_seq, 0, DECODE_CTX_MAX, NULL, "", "first token missing")

#define DECODE_REPLAYED(F) DECODE_ID(F) \
	F(JSON, events, 0, DECODE_REPLAY_MAX, NULL, "pieces", "in order")

/* acks: {id: next_seq}, what the client's socket has taken. */
#define DECODE_ACK(F) DECODE_BOOT(F) \
	F(JSON, acks, 0, DECODE_REQUESTS_MAX, NULL, "requests", "{id: next_seq}")
#define DECODE_ACKED(F) \
	F(JSON, unknown, 0, DECODE_REQUESTS_MAX, "[]", "ids", "not held here")

/* One of text and messages, as in generate. */
#define DECODE_TOKENIZE(F)                                                    \
	F(STR, text, 0, DECODE_PROMPT_MAX, "\"\"", "bytes", "plain text")     \
	F(JSON, messages, 0, 4096, "[]", "messages", "through the template")  \
	F(BOOL, add_special, 0, 0, "false", "", "text: put BOS first")        \
	F(BOOL, parse_special, 0, 0, "false", "", "text: control tokens count") \
	F(BOOL, with_pieces, 0, 0, "false", "", "the bytes of each, too")
#define DECODE_TOKENS(F) \
	F(JSON, ids, 0, DECODE_PROMPT_MAX + 16, NULL, "ids", "in order")      \
	F(JSON, pieces, 0, DECODE_PROMPT_MAX + 16, "[]", "tokens",            \
	    "base64 of the bytes of each, if asked for")

/* Messages as in generate; the answer opens the assistant's turn. */
#define DECODE_RENDER(F) \
	F(JSON, messages, 1, 4096, NULL, "messages", "a chat")               \
	F(BOOL, think, 0, 0, "true", "", "as in generate")

#define DECODE_DETOKENIZE(F) \
	F(JSON, ids, 0, DECODE_CTX_MAX, NULL, "ids", "control tokens give nothing")
#define DECODE_TEXT(F)                                              \
	F(STR, text, 0, 4 << 20, NULL, "bytes",                     \
	    "bytes that are not UTF-8 are replaced by U+FFFD")

#define DECODE_MODEL_INFO(F)                                                  \
	F(BOOL, with_template, 0, 0, "false", "", "also its text, which may be long")
#define DECODE_MODEL_INFO_IS(F)                                               \
	F(STR, id, 1, 256, NULL, "bytes", "the served name")                  \
	F(STR, architecture, 1, 64, NULL, "bytes", "as the file says")        \
	F(STR, format, 1, 64, NULL, "bytes", "of the weights")                \
	F(STR, backend, 1, 64, NULL, "bytes", "what runs it")                 \
	F(STR, chat_template, 0, 64, NULL, "bytes", "its name here")          \
	F(STR, template_text, 0, 1 << 20, "\"\"", "bytes",                   \
	    "if asked for: the Jinja of the model's file, if that is what is used") \
	F(INT, n_ctx, 1, DECODE_CTX_MAX, NULL, "tokens", "context of a request") \
	F(INT, n_ctx_train, 1, DECODE_CTX_MAX, NULL, "tokens", "of the model") \
	F(INT, n_vocab, 1, 1 << 20, NULL, "tokens", "rows of the embedding")  \
	F(INT, n_params, 1, 9007199254740991., NULL, "", "weights in all")    \
	F(INT, size_bytes, 1, 9007199254740991., NULL, "bytes", "of the file") \
	F(INT, n_slots, 1, 1024, NULL, "requests", "that run at once")        \
	F(INT, created, 0, 9007199254740991., NULL, "s", "file time, Unix")   \
	F(STR, fingerprint, 1, 64, NULL, "bytes", "of the weights, hex")      \
	F(STR, selfcheck, 1, 16, "\"absent\"", "bytes",                       \
	    "logits against the file's probe: passed, failed or absent")      \
	F(STR, file, 0, 256, "\"\"", "bytes", "name of the model's file")     \
	F(STR, bos_token, 0, 256, "\"\"", "bytes", "text of the begin token") \
	F(STR, eos_token, 0, 256, "\"\"", "bytes", "text of the end token")   \
	F(INT, n_embd, 0, 1 << 20, "0", "", "elements of a hidden state")     \
	F(BOOL, thinks, 0, 0, "false", "",                                    \
	    "the vocabulary has <think> and </think>")

#define DECODE_SLOTS(F)
/*
 * One of slots: {id, n_ctx, is_processing} and, if it is, {request (its id),
 * client, n_prompt, n_cached, n_fed, n_generated, limit, params (as generate has
 * them), session {key, name, pinned, lease_ms} (if it is a turn of one)}.
 */
#define DECODE_SLOTS_ARE(F) \
	F(JSON, slots, 0, 1024, NULL, "slots", "in order of their number")

#define DECODE_STEP(F) DECODE_BOOT(F)                                         \
	F(INT, step, 1, 9007199254740991., NULL, "", "number of the event since boot") \
	F(INT, time_us, 0, 9007199254740991., NULL, "us", "CLOCK_MONOTONIC, sent") \
	F(JSON, events, 1, DECODE_REQUESTS_MAX, NULL, "pieces", "one per request")

/*
 * held: {id: last_seq + 1} of every request that is kept.  waiting: {id: place},
 * 1 is next.  prefill: {id: [n_prompt, n_cached, n_done, ms since its slot]} of
 * every prompt that is being computed.
 */
#define DECODE_STATUS(F) DECODE_BOOT(F)                                       \
	F(BOOL, ready, 0, 0, NULL, "", "does it take requests")               \
	F(INT, step, 0, 9007199254740991., NULL, "", "the last one")          \
	F(INT, running, 0, DECODE_REQUESTS_MAX, NULL, "requests", "in slots") \
	F(INT, queued, 0, DECODE_REQUESTS_MAX, NULL, "requests", "waiting")   \
	F(INT, n_slots, 1, 1024, NULL, "requests", "that run at once")        \
	F(JSON, held, 0, DECODE_REQUESTS_MAX, NULL, "requests", "{id: next seq}") \
	F(JSON, waiting, 0, DECODE_REQUESTS_MAX, "{}", "requests", "{id: place}") \
	F(JSON, prefill, 0, DECODE_REQUESTS_MAX, "{}", "requests", "see above")

/*
 * op: get; pin (its pages stay until its lease ends), unpin; save (a snapshot),
 * restore (from it); fork (a copy as session `to`); drop (pages, record and
 * snapshot).  ttl_ms, if not 0, is its lease from now on: get and pin.  SESSION
 * if there is none with that key, or it is not owner's ("": anybody's); KV_FULL
 * if pins would leave no room, with retry_after_ms; EXISTS if `to` is taken;
 * STORAGE if a snapshot has no room; UNSUPPORTED if snapshots are off.
 */
#define DECODE_SESSION(F)                                                     \
	F(STR, key, 1, DECODE_SESSION_LEN, NULL, "hex", "of the session")     \
	F(STR, owner, 0, DECODE_SESSION_LEN, "\"\"", "hex", "who asks")       \
	F(STR, op, 1, 8, "\"get\"", "bytes", "see above")                     \
	F(INT, ttl_ms, 0, 2592000000., "0", "ms", "new lease; 0: as it was")  \
	F(STR, to, 0, DECODE_SESSION_LEN, "\"\"", "hex", "fork: its key")     \
	F(STR, to_name, 0, DECODE_SESSION_NAME, "\"\"", "bytes", "fork: its name")

/*
 * state: new (no turn has ended), warm (something of it is in memory), saved
 * (nothing is, but there is a snapshot), evicted or cold (nothing is).
 */
#define DECODE_SESSION_IS(F)                                                  \
	F(STR, key, 1, DECODE_SESSION_LEN, NULL, "hex", "of the session")     \
	F(STR, owner, 0, DECODE_SESSION_LEN, "\"\"", "hex", "whose it is")    \
	F(STR, name, 0, DECODE_SESSION_NAME, "\"\"", "bytes", "the client's") \
	F(STR, state, 1, 16, NULL, "bytes", "see above")                      \
	F(INT, n_tokens, 0, DECODE_CTX_MAX, "0", "tokens", "of all its turns") \
	F(INT, n_resident, 0, DECODE_CTX_MAX, "0", "tokens", "in the KV cache") \
	F(INT, n_bytes, 0, 9007199254740991., "0", "bytes", "of KV, of those") \
	F(BOOL, pinned, 0, 0, "false", "", "they stay there")                 \
	F(BOOL, saved, 0, 0, "false", "", "there is a snapshot of the last turn") \
	F(INT, snapshot_bytes, 0, 9007199254740991., "0", "bytes",            \
	    "of the snapshot, also of an older one")                          \
	F(BOOL, busy, 0, 0, "false", "", "a request of it runs or waits")     \
	F(INT, turns, 0, 9007199254740991., "0", "", "that ended")            \
	F(INT, idle_ms, 0, 9007199254740991., "0", "ms", "since it was used") \
	F(INT, lease_ms, 0, 9007199254740991., "0", "ms", "until it is forgotten")

/* Those of owner ("": all), in the order of their keys, after key `after`. */
#define DECODE_SESSIONS(F)                                                    \
	F(STR, owner, 0, DECODE_SESSION_LEN, "\"\"", "hex", "whose; \"\": all") \
	F(STR, after, 0, DECODE_SESSION_LEN, "\"\"", "hex", "key of the last one") \
	F(INT, limit, 1, DECODE_SESSIONS_MAX, "100", "sessions", "at most")
#define DECODE_SESSIONS_ARE(F)                                                \
	F(JSON, sessions, 0, DECODE_SESSIONS_MAX, NULL, "sessions",           \
	    "each with the members of session_is")                            \
	F(BOOL, more, 0, 0, "false", "", "there are more after the last one") \
	F(BOOL, snapshots, 0, 0, "false", "", "they can be saved")

/*
 * Which requests were in the step in which the life before this one ended, and
 * how far: seq of the token that was to be made.  fault: the signal by which it
 * ended; 0 if nobody could see one, as with SIGKILL.  clean: it came to its own
 * end.  boot is "" if nothing is known.
 */
#define DECODE_LAST_STEP(F)
#define DECODE_LAST_STEP_IS(F)                                                \
	F(STR, boot, 0, DECODE_BOOT_LEN, NULL, "bytes", "of that life")       \
	F(BOOL, clean, 0, 0, "false", "", "it was stopped")                   \
	F(INT, fault, 0, 128, "0", "", "see above")                           \
	F(INT, step, 0, 9007199254740991., "0", "", "since its boot")         \
	F(STR, phase, 0, 16, "\"\"", "bytes", "prefill: of a prompt; or decode") \
	F(JSON, requests, 0, DECODE_REQUESTS_MAX, "{}", "requests", "{id: seq}")

enum decode_type {
#define M(number, name, LIST, doc) DECODE_TYPE_##name = (number),
	DECODE_MESSAGES(M)
#undef M
};

FIELD_STRUCT(decode_piece, DECODE_PIECE);
FIELD_STRUCT(decode_generate, DECODE_GENERATE);
FIELD_STRUCT(decode_accepted, DECODE_ACCEPTED);
FIELD_STRUCT(decode_cancel, DECODE_CANCEL);
FIELD_STRUCT(decode_cancelled, DECODE_CANCELLED);
FIELD_STRUCT(decode_replay, DECODE_REPLAY);
FIELD_STRUCT(decode_replayed, DECODE_REPLAYED);
FIELD_STRUCT(decode_ack, DECODE_ACK);
FIELD_STRUCT(decode_acked, DECODE_ACKED);
FIELD_STRUCT(decode_tokenize, DECODE_TOKENIZE);
FIELD_STRUCT(decode_tokens, DECODE_TOKENS);
FIELD_STRUCT(decode_detokenize, DECODE_DETOKENIZE);
FIELD_STRUCT(decode_text, DECODE_TEXT);
FIELD_STRUCT(decode_model_info, DECODE_MODEL_INFO);
FIELD_STRUCT(decode_model_info_is, DECODE_MODEL_INFO_IS);
FIELD_STRUCT(decode_step, DECODE_STEP);
FIELD_STRUCT(decode_status, DECODE_STATUS);
FIELD_STRUCT(decode_slots_are, DECODE_SLOTS_ARE);
FIELD_STRUCT(decode_render, DECODE_RENDER);
FIELD_STRUCT(decode_session, DECODE_SESSION);
FIELD_STRUCT(decode_session_is, DECODE_SESSION_IS);
FIELD_STRUCT(decode_sessions, DECODE_SESSIONS);
FIELD_STRUCT(decode_sessions_are, DECODE_SESSIONS_ARE);
FIELD_STRUCT(decode_last_step_is, DECODE_LAST_STEP_IS);

#endif

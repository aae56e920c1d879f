#ifndef DECODE_OPTIONS_H
#define DECODE_OPTIONS_H

#include "field.h"

/*
 * The command line of bitnet_decode, its environment (HALO_DECODE_…) and its
 * file of --config: see conf.h.
 */
#define DECODE_OPTIONS(F)                                                     \
	F(STR, model, 1, 4096,                                                \
	    "\"/var/lib/1bit-halo/models/halo-demo.h1b\"", "bytes",           \
	    "the model to serve: .h1b, GGUF, or a Hugging Face directory")    \
	F(STR, model_id, 0, 200, "\"\"", "bytes",                             \
	    "name it is served under; empty: the file's stem")                \
	F(INT, port, 0, 65535, "8080", "",                                    \
	    "ops HTTP on 127.0.0.1: health, metrics; 0: off")                 \
	F(STR, runtime_dir, 0, 80, "\"\"", "bytes",                           \
	    "where the sockets are; empty: $RUNTIME_DIRECTORY, /run/1bit-halo, or " \
	    "without an installation $XDG_RUNTIME_DIR/1bit-halo")             \
	F(INT, context, 0, 1 << 20, "0", "tokens",                            \
	    "context of one request (--ppl: of a window); 0: the model's")     \
	F(INT, slots, 1, 256, "32", "requests", "requests that run at once")           \
	F(INT, queue, 0, 1024, "256", "requests", "requests that wait for a slot")      \
	F(INT, kv_tokens, 0, 1 << 24, "0", "tokens",                          \
	    "KV cache in all; 0: what 512 MiB hold, at least 4 contexts")  \
	F(INT, step_rows, 0, 2048, "0", "tokens",                             \
	    "rows of one step at most; 0: 128, on a GPU 2048, or the slots if more") \
	F(INT, prefill_rows, 0, 2048, "0", "tokens",                          \
	    "rows of prompts in a step, when somebody waits for its next token; " \
	    "0: 32, on a GPU 128")                                            \
	F(INT, queue_tokens, 1, 1 << 30, "262144", "tokens",                  \
	    "tokens of those who wait; one request always may")                \
	F(BOOL, prefix_cache, 0, 0, "true", "",                               \
	    "do not compute again what the KV cache still has")               \
	F(INT, sessions, 0, 65536, "4096", "sessions",                        \
	    "conversations that are remembered; 0: none")                     \
	F(INT, session_ttl_s, 1, 2592000, "3600", "s",                        \
	    "idle time after which one is not, if it does not say")           \
	F(STR, session_dir, 0, 500, "\"\"", "bytes",                          \
	    "where sessions are saved; empty: $STATE_DIRECTORY/sessions, or not at all") \
	F(INT, session_dir_max, 1, 1 << 24, "4096", "MiB",                    \
	    "of all of them; those used longest ago are deleted")             \
	F(INT, session_save_ms, 0, 600000, "2000", "ms",                      \
	    "time to save sessions at the end that are not pinned")           \
	F(STR, speculate, 1, 8, "\"auto\"", "bytes",                          \
	    "guess from what was said before: auto, off, or 1 to 16 tokens")  \
	F(STR, backend, 1, 16, "\"auto\"", "bytes", "one of auto, gpu, cpu, ref")  \
	F(INT, device, 0, 63, "0", "", "number of the device of the gpu backend") \
	F(STR, gpu_step, 1, 16, "\"auto\"", "bytes",                          \
	    "a pass of few rows on a GPU: launches (one for each step), whole (one), or auto") \
	F(STR, threads, 1, 8, "\"auto\"", "bytes",                            \
	    "threads of the cpu backend, 1 to 256; auto: one per core it may use") \
	F(BOOL, pin, 0, 0, "false", "",                                       \
	    "keep each of these threads on one processor")                    \
	F(STR, isa, 1, 16, "\"auto\"", "bytes",                               \
	    "instructions of the cpu backend: auto, avx512, avxvnni, avx2, neon, scalar") \
	F(STR, kv, 1, 8, "\"f16\"", "bytes", "KV cache: f16, or i8, half of it") \
	F(STR, attn, 1, 32, "\"auto\"", "bytes", "attention: auto or split-kv-fd")       \
	F(STR, rope_mode, 1, 32, "\"auto\"", "bytes",                         \
	    "rotary pairs: auto (as the file says), hf-split-half, interleaved")        \
	F(STR, chat_template, 1, 4096, "\"auto\"", "bytes",                   \
	    "auto (what the model has), a name, or a file with its text")     \
	F(STR, pages, 1, 8, "\"auto\"", "bytes",                              \
	    "pages of the weights: auto, huge (2 MiB), normal (the file, mapped)") \
	F(BOOL, mlock, 0, 0, "true", "", "keep the weights in memory")        \
	F(INT, drain_ms, 0, 600000, "5000", "ms",                             \
	    "time that requests in flight get to end after SIGTERM")               \
	F(JSON, bench, 0, 16, "[]", "tokens",                                 \
	    "measure speed at this depth and exit; may be repeated")          \
	F(INT, bench_repeats, 1, 100, "5", "times",                           \
	    "with --bench: how often; medians are printed")                   \
	F(INT, bench_batch, 0, 256, "0", "sequences",                         \
	    "with --bench: measure so many decoding together, too")           \
	F(STR, ppl, 0, 4096, "\"\"", "bytes",                                 \
	    "measure the perplexity of this text and exit")                   \
	F(INT, ppl_windows, 0, 1 << 20, "0", "windows",                       \
	    "windows of --ppl at most; 0: all")                                       \
	F(STR, ppl_protocol, 1, 24, "\"full\"", "bytes",                      \
	    "which tokens count: full, llama or stride:S")                    \
	F(STR, kl_against, 0, 4096, "\"\"", "bytes",                          \
	    "with --ppl: compare the logits with those of this model")        \
	F(STR, kl_backend, 0, 16, "\"\"", "bytes",                            \
	    "backend of --kl-against; empty: the one of --backend")           \
	F(BOOL, json, 0, 0, "false", "", "print --bench and --ppl as JSON")   \
	F(STR, log_format, 1, 8, "\"text\"", "bytes", "text or json lines on stderr")         \
	F(BOOL, verbose, 0, 0, "false", "", "log more")

FIELD_STRUCT(decode_options, DECODE_OPTIONS);

#include "backend/backend.h"
#include "bench.h"
#include "model/model.h"

/* What the table cannot say: words from a list, numbers in --bench. */
int options_check(const struct decode_options *o, struct err *e);

/* --threads: 0 for auto.  ERR_RANGE as options_check. */
int options_threads(const struct decode_options *o, int *n, struct err *e);

/* --pages, which options_check has passed. */
enum model_pages options_pages(const struct decode_options *o);

/* The depths of --bench into b; n_depths is 0 without one. */
int options_depths(const struct decode_options *o, struct bench_options *b,
    struct err *e);

/* --speculate, as struct engine_config has it. */
int options_speculate(const struct decode_options *o, int *mode,
    struct err *e);

/*
 * --context, --slots, --kv-tokens and --step-rows for model m: the members of b
 * from n_pages on.  Also applies --rope-mode to m.  ERR_RANGE for more context
 * than m was trained for.
 */
int options_size(const struct decode_options *o, struct model *m,
    struct backend_options *b, struct err *e);

#endif

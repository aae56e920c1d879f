#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stdint.h>

/*
 * Why something failed: a code the program acts on, a sentence a person reads.
 * A function that can fail returns 0 or one of these codes and puts the
 * sentence in its last argument; it does not log.  The caller that gives up
 * logs it, once.  Outputs are untouched on failure.
 *
 * The code is the same inside a process, on the bus and, through the columns
 * after it, in HTTP (OpenAI's error object: status, type, code).  Codes are
 * never reused.
 *
 *	name, code, HTTP status, error type, error code, meaning
 */
#define ERR_LIST(E)                                                           \
	E(BAD_MESSAGE, -1, 400, "invalid_request_error", "invalid_request",   \
	    "the message is not what was declared")                           \
	E(RANGE, -2, 400, "invalid_request_error", "unsupported_value",       \
	    "a value is outside its limits")                                  \
	E(NOT_FOUND, -3, 404, "not_found_error", "not_found",                 \
	    "there is no such thing")                                         \
	E(BUSY, -4, 429, "rate_limit_exceeded", "queue_full",                 \
	    "the service is at its limit")                                    \
	E(TIMEOUT, -5, 504, "timeout_error", "timeout", "no answer in time")  \
	E(SYSTEM, -6, 500, "server_error", "internal",                        \
	    "a system call or library failed")                                \
	E(UNAVAILABLE, -7, 503, "unavailable_error", "worker_down",           \
	    "the service that is needed does not answer")                     \
	E(LOADING, -8, 503, "unavailable_error", "loading_model",             \
	    "the service is not ready yet")                                   \
	E(DRAINING, -9, 503, "unavailable_error", "draining",                 \
	    "the service is about to stop")                                   \
	E(CONTEXT, -10, 400, "invalid_request_error",                         \
	    "context_length_exceeded", "the prompt does not fit the context") \
	E(UNSUPPORTED, -11, 400, "invalid_request_error",                     \
	    "unsupported_value", "understood, but not offered")               \
	E(BAD_FILE, -12, 500, "server_error", "bad_file",                     \
	    "a file is not what it should be")                                \
	E(NO_MEMORY, -13, 500, "server_error", "no_memory",                   \
	    "memory is short")                                                \
	E(EXISTS, -14, 409, "conflict_error", "conflict",                     \
	    "it is taken already")                                            \
	E(MODEL, -15, 404, "not_found_error", "model_not_found",              \
	    "no model has that name")                                         \
	E(LOST, -16, 503, "unavailable_error", "worker_lost",                 \
	    "the worker went away and did not come back in time")             \
	E(CRASHED, -17, 500, "server_error", "worker_crashed",                \
	    "this request ended the worker twice")                            \
	E(RATE, -18, 429, "rate_limit_exceeded", "rate_limited",              \
	    "more than this key or session may ask for in a minute")          \
	E(KEY, -19, 401, "authentication_error", "invalid_api_key",           \
	    "the key is missing or wrong")                                    \
	E(ADMIN, -20, 403, "permission_error", "admin_key_required",          \
	    "only an administrator's key may do this")                        \
	E(SESSION, -21, 404, "not_found_error", "session_not_found",          \
	    "there is no such session, or it is another key's")               \
	E(SESSION_BUSY, -22, 409, "conflict_error", "session_busy",           \
	    "a request of this session is running")                           \
	E(KV_FULL, -23, 503, "unavailable_error", "kv_exhausted",             \
	    "pinned sessions hold all of the KV cache")                       \
	E(STORAGE, -24, 507, "server_error", "storage_full",                  \
	    "a disk, or what may be used of it, is full")

enum err_code {
	ERR_NONE = 0,
#define E(name, code, http, type, tag, doc) ERR_##name = (code),
	ERR_LIST(E)
#undef E
};

struct err {
	enum err_code code;
	char text[240];		/* no trailing full stop or newline */
	char param[40];		/* the request's member at fault, or "" */
	int64_t retry_after_ms;	/* when to come back, or 0 */
	int64_t n_prompt_tokens;/* for CONTEXT, or 0 */
	int64_t n_ctx;		/* for CONTEXT, or 0 */
};

/*
 * Fill *e (which may be NULL): code, sentence, everything else cleared.
 * Returns code, so that it can be returned.
 */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* err_set, naming the member of the request that is at fault. */
int err_set_param(struct err *e, enum err_code code, const char *param,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* The columns of the list; those of SYSTEM for a code this build lacks. */
const char *err_name(int code);		/* "BUSY" */
int err_http_status(int code);		/* 429 */
const char *err_type(int code);		/* "rate_limit_exceeded" */
const char *err_tag(int code);		/* "queue_full" */

#endif

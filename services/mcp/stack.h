#ifndef MCP_STACK_H
#define MCP_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/*
 * The rest of the stack, as the tools see it: one table of functions, filled by
 * stack_bus_open (sockets of the runtime directory) or stack_http_open (the
 * gateway's HTTP routes).  Any thread may call, several at once.
 */
enum { STACK_UNITS_MAX = 16, STACK_MODELS_MAX = 32,
	STACK_KERNELS_MAX = 32 };

struct stack_unit {
	char unit[33];		/* "decode" */
	bool ready;
	char reason[241];	/* why not, or "" */
	char version[33];	/* "" if not known */
	int64_t uptime_ms;	/* of its process; -1 if not known */
	char since[33];		/* RFC 3339: when it became as it is; "": not known */
};

struct stack_model {
	char id[257];
	char architecture[65], format[65], backend[65];	/* "" if not known */
	int64_t n_ctx, n_ctx_train, n_params, size_bytes;	/* 0: not known */
};

/* A kind of work of the decode worker, since its start. */
struct stack_kernel {
	char name[33];		/* "attention" */
	int64_t calls, ns;
	int64_t bytes;		/* read of weights and KV cache */
};

struct stack {
	void *self;
	int64_t start_ms;	/* clock_ms() when this program began to ask */
	/*
	 * Fill units [STACK_UNITS_MAX] and return how many; one that does not
	 * answer is among them, with the reason.
	 */
	int (*health)(void *self, struct stack_unit *units);
	/*
	 * Fill models [STACK_MODELS_MAX] and *n.  Fails when the unit that
	 * knows does not answer.
	 */
	int (*models)(void *self, struct stack_model *models, int *n,
	    struct err *e);
	/* Fill kernels [STACK_KERNELS_MAX] and *n.  Fails as models, and where
	 * only the gateway can be asked. */
	int (*kernels)(void *self, struct stack_kernel *kernels, int *n,
	    struct err *e);
};

/* Both live until the process ends.  dir, url and key are borrowed as long;
 * timeout_ms is for each question. */
int stack_bus_open(struct stack *s, const char *dir, int timeout_ms,
    struct err *e);

/* url: http:// or https://, a trailing '/' is dropped.  key: sent as bearer, or
 * NULL.  ERR_RANGE if url is malformed. */
int stack_http_open(struct stack *s, const char *url, const char *key,
    int timeout_ms, struct err *e);

#endif

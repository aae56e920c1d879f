/*
 * --bench, --ppl and --kl-against.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "kl.h"
#include "measure.h"
#include "ppl.h"

int
measure(struct service *sv, const struct backend_options *b, struct err *e)
{
	const struct decode_options *o = &sv->options;
	struct bench_options bench = {
		.n_threads = b->n_threads, .n_ctx = b->n_ctx,
		.n_pages = b->n_pages, .max_rows = b->max_rows, .json = o->json,
		.pin = o->pin, .repeats = (int)o->bench_repeats, .batch = (int)o->bench_batch,
	};
	struct ppl_options ppl = {
		.path = o->ppl, .context = (int32_t)o->context,
		.n_windows = (int32_t)o->ppl_windows, .n_ctx = b->n_ctx,
		.n_pages = b->n_pages, .max_rows = b->max_rows, .json = o->json,
		.progress = isatty(STDERR_FILENO),
	};
	struct backend_options other = *b;
	int r;

	if (o->kl_backend[0] != '\0')
		other.name = o->kl_backend;
	if ((r = ppl_protocol_parse(o->ppl_protocol, &ppl.protocol, &ppl.stride, e)) != 0)
		return r;
	if (o->kl_against[0] != '\0')
		r = kl_run(&ppl, &sv->model, sv->tokenizer, &sv->backend,
		    o->kl_against, &other, stdout, e);
	else if (o->ppl[0] != '\0')
		r = ppl_run(&ppl, &sv->model, sv->tokenizer, &sv->backend,
		    stdout, e);
	else if ((r = options_depths(o, &bench, e)) == 0)
		r = bench_run(&bench, &sv->model, &sv->backend, stdout, e);
	if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		r = err_set(e, ERR_STORAGE, "the result cannot be written: %s",
		    strerror(errno));
	return r;
}

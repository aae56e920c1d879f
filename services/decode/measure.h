#ifndef DECODE_MEASURE_H
#define DECODE_MEASURE_H

#include "service.h"

/*
 * Do what --bench, --ppl or --kl-against asks for, with what load() opened (b is
 * what it left there), and print the result on stdout.  From main, instead of
 * serving.  ERR_STORAGE if stdout takes no more; whatever bench_run, ppl_run and kl_run
 * return.
 */
int measure(struct service *sv, const struct backend_options *b, struct err *e);

#endif

#ifndef DECODE_LOAD_H
#define DECODE_LOAD_H

#include "service.h"

/*
 * Open what sv->options name: model, tokenizer, template, backend, and fill in
 * model_id and n_ctx of sv.  *b has the backend's options, and gets the sizes that
 * came of them.  Once, from main, before anything else reads sv; what it opens
 * stays until the process ends, also after an error.  Says in the log what was
 * chosen where the options left it open.  ERR_BAD_FILE and whatever
 * model_open_with, tokenizer_load, template_choose and backend_open return; but a
 * device that failed, which may be well at the next start, is ERR_UNAVAILABLE.
 */
int load(struct service *sv, struct backend_options *b, struct err *e);

#endif

/*
 * The options' model, its tokenizer, template and backend.
 */
#include <string.h>

#include "load.h"
#include "log.h"
#include "model/model_guard.h"
#include "topology.h"

static int
choose_template(struct service *sv, struct err *e)
{
	const char *wanted = sv->options.chat_template;
	bool own = strcmp(wanted, "auto") == 0, *known = &sv->own_template;
	int r;

	if (!own && (r = template_choose(wanted, &sv->template, e)) != 0)
		return r;
	if (own)
		sv->template = template_recognise(sv->model.chat_template,
		    sv->model.n_chat_template, known);
	if ((r = template_check(sv->template, sv->tokenizer, e)) != 0) {
		if (!own)
			return r;
		log_warn("%s, using 'plain': see --chat-template", e->text);
		sv->template = template_find("plain");
		*known = false;
	} else if (own && !*known && sv->model.n_chat_template == 0) {
		log_info("the model has no chat template, using '%s': see "
		    "--chat-template", template_name(sv->template));
	} else if (own && !*known) {
		log_warn("the model's chat template is not known here, using "
		    "'%s': see --chat-template", template_name(sv->template));
	}
	return 0;
}

/* The weights, where and how --pages, --mlock and --threads want them. */
static int
open_model(struct service *sv, int n_threads, struct err *e)
{
	const struct decode_options *o = &sv->options;
	struct model_open_options mo = { .pages = options_pages(o) };
	struct model *m = &sv->model;
	struct topology_set mask;
	struct topology top;
	size_t huge;
	int r;

	topology_mask(&mask);
	topology_read("", &mask, &top);
	if (n_threads > top.n_cpus)
		log_warn("--threads %d: more than the %d processors it may use, "
		    "they will wait for each other", n_threads, top.n_cpus);
	mo.n_threads = n_threads > 0 ? n_threads : topology_threads(&top);
	mo.nodes = top.nodes;
	model_guard_open("decode", o->model, 1);
	if ((r = model_open_with(o->model, &mo, m, e)) != 0)
		return r;
	model_guard(m, o->model);
	if (o->mlock && model_lock(m, e) != 0)
		log_warn("%s, ignoring", e->text);
	huge = memory_huge(m->map, m->map_size);
	log_info("weights: %zu MiB, of which %zu in 2 MiB pages (%s)",
	    m->map_size >> 20, (huge < m->map_size ? huge : m->map_size) >> 20,
	    m->mapped ? "the file is mapped" : m->memory.reserved ? "reserved" :
	    "transparent");
	return 0;
}

int
load(struct service *sv, struct backend_options *b, struct err *e)
{
	const struct decode_options *o = &sv->options;
	struct model *m = &sv->model;
	int r;

	if ((r = open_model(sv, b->n_threads, e)) != 0)
		return r;
	if (m->note[0] != '\0')
		log_info("%s: %s", o->model, m->note);
	if ((r = tokenizer_load(m->tokenizer, m->n_tokenizer, &sv->tokenizer,
	    e)) != 0 || (r = options_size(o, m, b, e)) != 0)
		return r;
	if (tokenizer_n_vocab(sv->tokenizer) > m->config.vocab)
		return err_set(e, ERR_BAD_FILE, "%s: the tokenizer has %d tokens, "
		    "the model %d", o->model,
		    (int)tokenizer_n_vocab(sv->tokenizer), (int)m->config.vocab);
	if ((r = choose_template(sv, e)) != 0)
		return r;
	if ((r = backend_open(m, b, &sv->backend, e)) != 0) {
		if (r == ERR_SYSTEM)
			e->code = ERR_UNAVAILABLE;
		return e->code;
	}
	if (sv->backend.instead[0] != '\0')
		log_info("%s; so it is '%s'", sv->backend.instead, sv->backend.name);
	b->max_rows = sv->backend.max_rows;
	sv->n_ctx = b->n_ctx;
	sv->model_id = o->model_id[0] != '\0' ? o->model_id : m->name;
	return 0;
}

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "model/h1b.h"
#include "model/model_guard.h"
#include "pkg.h"
#include "progress.h"
#include "selfcheck.h"
#include "tokenizer/tokenizer.h"
#include "utf8.h"

/* The directory stands after the header; model_open has checked it. */
static const struct h1b_entry *
directory(const struct model *m, uint32_t *n)
{
	const struct h1b_header *h = m->map;

	*n = h->n_sections;
	return (const struct h1b_entry *)(h + 1);
}

static json_t *
sections_json(const struct model *m)
{
	json_t *list = json_array();
	uint32_t n;
	const struct h1b_entry *en = directory(m, &n);

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack(
		    "{s:s,s:s,s:[I,I],s:I,s:I,s:I}", "name", en[i].name,
		    "type", h1b_type_name(en[i].type),
		    "dims", (json_int_t)en[i].dims[0], (json_int_t)en[i].dims[1],
		    "offset", (json_int_t)en[i].offset,
		    "bytes", (json_int_t)en[i].size,
		    "crc32c", (json_int_t)en[i].crc));
	return list;
}

static const char *
body_of(const struct model *m)
{
	return h1b_type_name(m->layers[0].q.form == TERNARY_B3 ? H1B_B3 :
	    H1B_T2);
}

/* Columns of a factor, of the matrices of a layer. */
static json_t *
groups_json(const struct model *m)
{
	const struct model_layer *l = &m->layers[0];

	return json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "q", l->q.group,
	    "k", l->k.group, "v", l->v.group, "o", l->o.group,
	    "gate", l->gate.group, "up", l->up.group, "down", l->down.group);
}

static json_t *
info_json(const struct model *m, bool sections)
{
	const struct model_config *c = &m->config;
	json_t *eos = json_array(), *o;

	for (int32_t i = 0; i < c->n_eos; i++)
		json_array_append_new(eos, json_integer(c->eos[i]));
	o = json_pack("{s:i,s:s,s:s,s:s%,s:s,s:I,s:I,s:s,s:s%}",
	    "version", H1B_VERSION, "name", m->title,
	    "architecture", m->architecture,
	    "source", m->source, m->n_source, "fingerprint", m->fingerprint,
	    "bytes", (json_int_t)m->map_size,
	    "n_params", (json_int_t)m->n_params,
	    "head", h1b_type_name(m->head.type),
	    "chat_template", m->chat_template, m->n_chat_template);
	if (o == NULL)
		return NULL;
	json_object_update_new(o, json_pack(
	    "{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:f,s:f,s:s,s:b,s:b,s:b,s:i,s:o}",
	    "vocab", c->vocab, "hidden", c->hidden, "n_layers", c->n_layers,
	    "n_heads", c->n_heads, "n_kv_heads", c->n_kv_heads,
	    "head_dim", c->head_dim, "ffn", c->ffn, "n_ctx", c->n_ctx,
	    "rope_theta", (double)c->rope_theta,
	    "norm_eps", (double)c->norm_eps,
	    "act", c->act == MODEL_RELU2 ? "relu2" : "silu",
	    "rope_interleaved", c->rope_interleaved, "sub_norms", c->sub_norms,
	    "tied", c->tied, "bos", c->bos, "eos", eos));
	json_object_update_new(o, json_pack("{s:b,s:b,s:s,s:i,s:i,s:I}",
	    "qk_norm", c->qk_norm, "act_float", c->act_float,
	    "embed", h1b_type_name(m->embed.type),
	    "embed_group", m->embed.group, "head_group", m->head.group,
	    "probe_bytes", (json_int_t)m->n_probe));
	json_object_set_new(o, "groups", groups_json(m));
	json_object_set_new(o, "body", json_string(body_of(m)));
	if (sections)
		json_object_set_new(o, "sections", sections_json(m));
	return o;
}

static void
print_sections(const struct model *m)
{
	uint32_t n;
	const struct h1b_entry *en = directory(m, &n);

	printf("\n%-28s %-5s %8s %8s %12s %12s %8s\n", "section", "type", "rows",
	    "columns", "offset", "bytes", "crc32c");
	for (uint32_t i = 0; i < n; i++)
		printf("%-28s %-5s %8" PRIu64 " %8" PRIu64 " %12" PRIu64
		    " %12" PRIu64 " %08" PRIx32 "\n", en[i].name,
		    h1b_type_name(en[i].type), en[i].dims[0], en[i].dims[1],
		    en[i].offset, en[i].size, en[i].crc);
}

/* A text of the file, with nothing in it that a terminal would obey. */
static void
print_text(const char *label, const char *text, size_t n)
{
	printf("%s", label);
	for (size_t i = 0, len; i < n; i += len) {
		size_t whole = utf8_char(text + i, n - i);

		len = whole > 0 ? whole : 1;
		if (whole > 0 && (text[i] == '\n' || text[i] == '\t' ||
		    !utf8_is_control(text + i)))
			fwrite(text + i, 1, len, stdout);
		else
			putchar('?');
	}
	putchar('\n');
}

static void
print_groups(const struct model *m)
{
	const struct model_layer *l = &m->layers[0];
	const struct ternary *w[] = { &l->q, &l->k, &l->v, &l->o, &l->gate,
	    &l->up, &l->down };
	static const char *const names[] = { "q", "k", "v", "o", "gate", "up",
	    "down" };
	bool any = false;

	printf("factors       one a row");
	for (size_t i = 0; i < 7; i++)
		if (w[i]->group < w[i]->n_in) {
			printf("%s %s %d", any ? "," : "; columns of one:",
			    names[i], w[i]->group);
			any = true;
		}
	putchar('\n');
}

static void
print_info(const struct model *m)
{
	const struct model_config *c = &m->config;
	char size[32];

	pkg_size((double)m->map_size, size);
	printf("name          %s\n", m->title);
	printf("architecture  %s\n", m->architecture);
	print_text("source        ", m->source, m->n_source);
	printf("fingerprint   %s\n", m->fingerprint);
	printf("size          %zu bytes (%s), .h1b version %d\n", m->map_size,
	    size, H1B_VERSION);
	printf("parameters    %.1f million\n", (double)m->n_params / 1e6);
	printf("layers        %d\n", c->n_layers);
	printf("width         %d, feed-forward %d, %s%s\n", c->hidden, c->ffn,
	    c->act == MODEL_RELU2 ? "squared ReLU" : "SiLU",
	    c->sub_norms ? ", sub-norms" : "");
	printf("heads         %d of %d, %d key/value%s\n", c->n_heads,
	    c->head_dim, c->n_kv_heads, c->qk_norm ? ", q and k norms" : "");
	printf("body          %s\n", m->layers[0].q.form == TERNARY_B3 ?
	    "b3, five weights in a byte" : "t2, two bits a weight");
	print_groups(m);
	printf("activations   %s\n", c->act_float ?
	    "trained as floats; the cpu backend makes them 8 bits" : "8 bits");
	printf("positions     %d, rope theta %g, %s pairs\n", c->n_ctx,
	    (double)c->rope_theta, c->rope_interleaved ? "adjacent" : "split");
	printf("norm epsilon  %g\n", (double)c->norm_eps);
	printf("vocabulary    %d, embedding %s, head %s\n", c->vocab,
	    h1b_type_name(m->embed.type),
	    c->tied ? "tied to it" : h1b_type_name(m->head.type));
	printf("bos           %d\n", c->bos);
	printf("eos          ");
	for (int32_t i = 0; i < c->n_eos; i++)
		printf(" %d", c->eos[i]);
	printf("\ntokenizer     %zu bytes\n", m->n_tokenizer);
	print_text("chat template ", m->chat_template, m->n_chat_template);
	printf("probe         %zu bytes\n", m->n_probe);
	if (m->note[0] != '\0')
		printf("note          %s\n", m->note);
}

/* A tool looks at a model once.  status: if the file is cut under us. */
static int
open_light(const char *path, int status, struct model *m, struct err *e)
{
	const struct model_open_options o = { .light = true,
	    .progress = progress_show };
	int rc;

	model_guard_open("1bit-halo-pkg", path, status);
	rc = model_open_with(path, &o, m, e);
	progress_end();
	return rc;
}

int
pkg_info(int argc, char *argv[])
{
	bool json = false, sections = false;
	const char *file;
	struct model m;
	struct err e;
	const struct pkg_option options[] = {
		{ "--json", NULL, &json }, { "--sections", NULL, &sections },
		{ 0 },
	};

	if (pkg_options(argc, argv, options, &file, 1, &e) != 0 ||
	    open_light(file, PKG_UNUSABLE, &m, &e) != 0)
		return pkg_fail(&e);
	if (json) {
		json_t *o = info_json(&m, sections);

		if (o == NULL) {
			err_set(&e, ERR_BAD_FILE, "%.100s: a text is not UTF-8",
			    file);
			model_close(&m);
			return pkg_fail(&e);
		}
		json_dumpf(o, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(o);
	} else {
		print_info(&m);
		if (sections)
			print_sections(&m);
	}
	model_close(&m);
	return PKG_OK;
}

/* Does the backend of this machine compute the logits that are in the file? */
static int
check_probe(const char *file, const struct model *m, struct err *e)
{
	const struct backend_options o = { .name = "auto", .isa = "auto",
	    .n_pages = 1, .max_rows = KV_PAGE, .n_ctx = m->config.n_ctx <
	    KV_PAGE ? m->config.n_ctx : KV_PAGE };
	struct selfcheck_result r;
	struct backend b;
	int rc;

	if ((rc = backend_open(m, &o, &b, e)) != 0)
		return rc;
	rc = selfcheck_run(m, &b, &o, &r, e);
	b.close(&b);
	if (rc == 0 && r.state == SELFCHECK_FAILED)
		rc = err_set(e, ERR_BAD_FILE, "%.100s: probe: %s", file, r.text);
	return rc;
}

int
pkg_verify(int argc, char *argv[])
{
	const struct pkg_option options[] = { { 0 } };
	struct tokenizer *t = NULL;
	const char *file;
	struct model m;
	struct err e;
	int rc;

	if (pkg_options(argc, argv, options, &file, 1, &e) != 0)
		return pkg_fail(&e);
	if ((rc = open_light(file, PKG_BAD, &m, &e)) != 0) {
		pkg_fail(&e);
		return rc == ERR_BAD_FILE ? PKG_BAD : PKG_UNUSABLE;
	}
	rc = tokenizer_load(m.tokenizer, m.n_tokenizer, &t, &e);
	if (rc == 0 && tokenizer_n_vocab(t) > m.config.vocab)
		rc = err_set(&e, ERR_BAD_FILE, "%.100s: section 'tokenizer': %d "
		    "tokens, but the embedding has %d rows", file,
		    tokenizer_n_vocab(t), m.config.vocab);
	tokenizer_destroy(t);
	if (rc == 0 && m.n_probe > 0)
		rc = check_probe(file, &m, &e);
	if (rc == 0)
		printf("%s: good, %zu bytes, fingerprint %.16s%s\n", file,
		    m.map_size, m.fingerprint, m.n_probe > 0 ?
		    ", probe passed" : "");
	model_close(&m);
	if (rc == 0)
		return PKG_OK;
	pkg_fail(&e);
	return PKG_BAD;
}

/*
 * The GPU backend: the runtime and a code object that the device takes, then the model,
 * then buffers.  A pass copies its rows and page tables in one piece, replays a graph or
 * launches kernels, and waits once, for the logits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/gpu.h"
#include "backend/gpu_module.h"

enum {
	GRAPH_ROWS = 32,	/* of more the launches are short beside the work */
	STREAM_NON_BLOCKING = 1,
};

static const char *const kernel_names[N_GPU_KERNELS] = {
#define K(member, name, op) name,
	GPU_KERNELS(K)
#undef K
};

static const enum gpu_op kernel_ops[N_GPU_KERNELS] = {
#define K(member, name, op) op,
	GPU_KERNELS(K)
#undef K
};

int
gpu_check(struct gpu *g, int code, const char *what, struct err *e)
{
	uint32_t k = g->mark != NULL ? *g->mark : 0;

	if (code == 0)
		return 0;
	g->dead = true;
	if (k == 0 || k > N_GPU_KERNELS)
		return err_set(e, ERR_SYSTEM, "GPU: %s failed: %s (%d)", what,
		    gpu_driver_error(&g->d, code), code);
	return err_set(e, ERR_SYSTEM, "GPU: %s failed: %s (%d); the kernel that began "
	    "last was %s", what, gpu_driver_error(&g->d, code), code,
	    kernel_names[k - 1]);
}

int
gpu_begin(struct gpu *g, struct err *e)
{
	int r;

	if (g->dead)
		return err_set(e, ERR_SYSTEM, "GPU: it has failed before");
	if ((r = gpu_driver_use(&g->d, e)) != 0)
		g->dead = true;
	return r;
}

int
gpu_launch(struct gpu *g, enum gpu_kernel k, const unsigned grid[3], unsigned threads,
    size_t shared, void *params, struct err *e)
{
	struct gpu_mark mark = { .id = (uint32_t)k + 1 };
	int r;

	memcpy(&mark.at, &g->mark, sizeof(mark.at));
	memcpy(params, &mark, sizeof(mark));
	if ((r = gpu_times_before(g, kernel_ops[k], e)) != 0)
		return r;
	return gpu_check(g, gpu_driver_launch(&g->d, g->functions[k], grid, threads,
	    (unsigned)shared, g->stream, params), kernel_names[k], e);
}

/* Page tables of rows, one for each run of rows with the same. */
static size_t
put_tables(struct gpu *g, const struct backend_row *rows, int n)
{
	char *at = g->staging + g->tables_at, *to = g->staging + g->rows_at;
	int32_t *tables = (int32_t *)(void *)at;
	struct gpu_row *out = (struct gpu_row *)(void *)to;
	size_t used = 0, begin = 0;

	for (int i = 0; i < n; i++) {
		size_t n_pages = (size_t)rows[i].pos / KV_PAGE + 1;

		if (i == 0 || rows[i].pages != rows[i - 1].pages)
			begin = used;
		if (begin + n_pages > used) {
			memcpy(tables + begin, rows[i].pages, n_pages *
			    sizeof(int32_t));
			used = begin + n_pages;
		}
		out[i] = (struct gpu_row){ .token = rows[i].token,
			.pos = rows[i].pos, .table = (int32_t)begin };
	}
	return used;
}

/* How many groups the rows make. */
static int32_t
put_groups(struct gpu *g, const struct backend_row *rows, int n)
{
	char *at = g->staging + g->groups_at;
	struct gpu_group *groups = (struct gpu_group *)(void *)at;
	int32_t k = 0;

	for (int i = 0; i < n; i++) {
		if (i == 0 || rows[i].pages != rows[i - 1].pages ||
		    groups[k - 1].n == GPU_GROUP_ROWS)
			groups[k++] = (struct gpu_group){ .first = i };
		groups[k - 1].n++;
	}
	return k;
}

static struct gpu_shape
shape_of(struct gpu *g, const struct backend_row *rows, int n)
{
	struct gpu_shape s = { .n_rows = n, .n_groups = put_groups(g, rows, n),
		.n_tiles = 1 };

	gpu_wanted(g, rows, n, &s);
	for (int i = 0; i < n; i++) {
		while (s.n_tiles * GPU_TILE <= rows[i].pos)
			s.n_tiles *= 2;
		if (i > 0 && rows[i].pages == rows[i - 1].pages)
			s.stored = true;
	}
	s.n_tiles = s.n_tiles < g->max_tiles ? s.n_tiles : g->max_tiles;
	return s;
}

/* Wait for the device, and logits of n rows from it to out. */
static int
take_logits(struct gpu *g, float *out, int32_t n, struct err *e)
{
	size_t vocab = (size_t)g->m->config.vocab, bytes = (size_t)n * vocab * sizeof(float);
	uintptr_t first = (uintptr_t)g->host_logits, at = (uintptr_t)out;
	bool direct = at >= first && at + bytes <= first + GPU_HOST_ROWS * vocab *
	    sizeof(float);
	int r;

	if (n > 0 && (r = g->d.to_host_async(direct ? out : g->host_logits, g->logits,
	    bytes, g->stream)) != 0)
		return gpu_check(g, r, "asking for logits", e);
	if ((r = g->d.stream_wait(g->stream)) != 0)
		return gpu_check(g, r, "a step", e);
	if (n > 0 && !direct)
		memcpy(out, g->host_logits, bytes);
	return 0;
}

static int32_t
rows_at_once(int32_t left)
{
	return left < GPU_LOGITS_ROWS ? left < 0 ? 0 : left : GPU_LOGITS_ROWS;
}

/* What the first of the wanted rows are waiting for, then the others in turns. */
static int
take_all(struct gpu *g, const struct gpu_shape *s, float *logits, struct err *e)
{
	size_t vocab = (size_t)g->m->config.vocab;
	int r;

	for (int32_t at = 0; ; ) {
		int32_t n = rows_at_once(s->n_full - at);

		if ((r = take_logits(g, logits, n, e)) != 0)
			return r;
		logits += n > 0 ? (size_t)n * vocab : 0;
		at += GPU_LOGITS_ROWS;
		if (at >= s->n_wanted)
			return 0;
		if ((r = gpu_step_head(g, s, at, rows_at_once(s->n_wanted - at), e)) != 0)
			return r;
	}
}

static int
gpu_forward(struct backend *b, const struct backend_row *rows, int n, float *logits,
    struct err *e)
{
	struct gpu *g = b->state;
	size_t used = put_tables(g, rows, n), bytes;
	struct gpu_shape s = shape_of(g, rows, n);
	uint32_t pass;
	int r;

	if ((r = gpu_begin(g, e)) != 0 || (r = gpu_whole_number(g, &pass, e)) != 0)
		return r;
	g->n_passes++;
	memcpy(g->staging + g->pass_at, &pass, sizeof(pass));
	bytes = g->tables_at + used * sizeof(int32_t);
	if ((r = g->d.to_device_async(g->batch, g->staging, bytes, g->stream)) != 0)
		return gpu_check(g, r, "copying a batch", e);
	gpu_times_begin(g);
	r = n <= GRAPH_ROWS && s.n_wanted <= GPU_LOGITS_ROWS && !g->times.on ?
	    gpu_graph_step(g, &s, e) : gpu_step(g, &s, e);
	if (r == 0 && s.n_hidden > 0)
		r = gpu_wanted_hidden(g, &s, e);
	if (r == 0)
		r = gpu_times_end(g, rows, n, e);
	if (r == 0)
		r = take_all(g, &s, logits, e);
	if (r == 0)
		gpu_wanted_give(g, rows, n);
	return r;
}

static int
gpu_copy_page(struct backend *b, int32_t from, int32_t to, int n, struct err *e)
{
	struct gpu *g = b->state;
	struct gpu_copy p = { .cache = g->cache, .layer_stride = g->page_size *
		(uint64_t)g->o.n_pages, .n_kv_heads = g->m->config.n_kv_heads,
		.dim_stride = g->dim_stride, .from = from, .to = to };
	const unsigned grid[3] = { (unsigned)g->m->config.n_layers, 1, 1 };
	int r = gpu_begin(g, e);

	(void)n;		/* what is behind them nobody has stored: it has no weight */
	return r != 0 ? r : gpu_launch(g, GPU_KERNEL_copy, grid, GPU_THREADS, 0, &p, e);
}

static void
free_state(struct gpu *g)
{
	if (g->stream != NULL)
		g->d.stream_wait(g->stream);
	gpu_graph_free(g);
	gpu_times_free(g);
	gpu_memory_free(g);
	if (g->module != NULL)
		g->d.module_unload(g->module);
	if (g->stream != NULL)
		g->d.stream_destroy(g->stream);
	gpu_driver_close(&g->d);
	free(g->layers);
	free(g);
}

static void
gpu_close(struct backend *b)
{
	struct gpu *g = b->state;
	struct err e;

	gpu_driver_use(&g->d, &e);
	free_state(g);
	*b = (struct backend){ 0 };
}

/* Not every device has a code object with these. */
static bool
may_be_missing(int kernel)
{
	return kernel == GPU_KERNEL_whole || (kernel >= GPU_KERNEL_wgmma_set &&
	    kernel <= GPU_KERNEL_wgmma160_add);
}

/* Kernels that only one target has stay NULL elsewhere. */
static int
load_code(struct gpu *g, struct err *e)
{
	int r = gpu_module_load(&g->d, g->device_name, &g->module, e);

	for (int i = 0; i < N_GPU_KERNELS && r == 0; i++) {
		int code = gpu_module_kernel(&g->d, g->module, kernel_names[i],
		    &g->functions[i]);

		if (code != GPU_NOT_FOUND || !may_be_missing(i))
			r = gpu_check(g, code, kernel_names[i], e);
	}
	return r;
}

static int
check_model(const struct model *m, const struct backend_options *o, struct err *e)
{
	int32_t widest = m->config.hidden;

	if (o->kv != NULL && strcmp(o->kv, "f16") != 0)
		return err_set(e, ERR_UNSUPPORTED, "GPU: a KV cache in %.16s; it has "
		    "only f16", o->kv);
	if (2 * widest > GPU_SMEM)
		return err_set(e, ERR_UNSUPPORTED, "GPU: a head of %d columns; %d are "
		    "possible", (int)widest, GPU_SMEM / 2);
	return 0;
}

static int
open_all(struct gpu *g, struct err *e)
{
	int r, code;

	if ((r = gpu_driver_open(&g->d, g->o.device, e)) != 0)
		return r;
	if ((code = g->d.device_name(g->device_name, sizeof(g->device_name),
	    g->d.device)) != 0)
		return gpu_check(g, code, "asking for its name", e);
	if ((r = load_code(g, e)) != 0 ||
	    (r = gpu_driver_processors(&g->d, &g->processors, e)) != 0)
		return r;
	if ((code = g->d.stream_create(&g->stream, STREAM_NON_BLOCKING)) != 0)
		return gpu_check(g, code, "making a stream", e);
	if ((r = gpu_upload(g, e)) != 0 || (r = gpu_memory_take(g, e)) != 0 ||
	    (r = gpu_whole_open(g, e)) != 0)
		return r;
	/* Copies may still be on their way, and passes are in another stream than those. */
	if ((code = g->d.stream_wait(NULL)) != 0)
		return gpu_check(g, code, "copying weights", e);
	if ((code = g->d.stream_wait(g->stream)) != 0)
		return gpu_check(g, code, "clearing memory", e);
	return 0;
}

int
backend_gpu_open(const struct model *m, const struct backend_options *o,
    struct backend *b, struct err *e)
{
	struct gpu *g = calloc(1, sizeof(*g));
	int r;

	if (g == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for the backend");
	*g = (struct gpu){ .m = m, .o = *o };
	g->layers = calloc((size_t)m->config.n_layers, sizeof(*g->layers));
	r = g->layers == NULL ? err_set(e, ERR_NO_MEMORY,
	    "no memory for the backend") : check_model(m, o, e);
	if (r == 0)
		r = open_all(g, e);
	if (r != 0) {
		free_state(g);
		return r;
	}
	*b = (struct backend){
		.approximates = m->config.act_float,
		.logits = g->host_logits, .logits_rows = GPU_HOST_ROWS,
		.has_hidden = true, .top_max = BACKEND_TOP_MAX,
		.kv_bytes = g->cache_bytes, .scratch_bytes = g->scratch_bytes,
		.forward = gpu_forward, .copy_page = gpu_copy_page,
		.read_page = gpu_read_page, .write_page = gpu_write_page,
		.page_bytes = (size_t)m->config.n_layers * (size_t)g->page_size *
		    sizeof(uint16_t),
		.bytes_per_token = gpu_token_bytes(g), .memory_rate = gpu_memory_rate,
		.ops = gpu_ops, .close = gpu_close, .state = g,
	};
	snprintf(b->name, sizeof(b->name), "gpu %.40s%s", g->device_name,
	    g->whole.max_rows > 0 ? ", one launch a pass" : "");
	snprintf(b->kv_format, sizeof(b->kv_format), "gpu f16 2 %.50s", g->device_name);
	return 0;
}

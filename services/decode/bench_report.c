#include "bench_report.h"

static double
rate_of(const struct bench_result *r)
{
	return (double)r->bytes * r->decode.median;
}

static json_t *
number_or_null(double v)
{
	return v > 0 ? json_real(v) : json_null();
}

static void
set_rate(json_t *obj, const char *name, const struct bench_rate *r)
{
	const struct {
		const char *suffix;
		double v;
	} all[] = {
		{ "", r->median }, { "_min", r->min }, { "_max", r->max },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		char key[48];

		snprintf(key, sizeof(key), "%s%s_tok_s", name, all[i].suffix);
		json_object_set_new(obj, key, number_or_null(all[i].v));
	}
}

/* The ternary products of a prompt, 10^12 operations a second. */
static double
tops(const struct bench_report *u, const struct bench_result *r)
{
	return (double)u->operations * r->prefill.median / 1e12;
}

static double
per_token(const struct bench_kernels *k, int64_t v)
{
	return k->tokens > 0 ? (double)v / (double)k->tokens : 0;
}

/* Bytes a nanosecond are GB/s. */
static double
kernel_rate(const struct backend_op *op)
{
	return op->ns > 0 ? (double)op->bytes / (double)op->ns : 0;
}

static json_t *
kernels_json(const struct bench_kernels *k)
{
	json_t *list = json_array();

	for (int i = 0; i < k->n; i++)
		json_array_append_new(list, json_pack(
		    "{s:s, s:f, s:f, s:f, s:f}", "name", k->ops[i].name,
		    "calls", per_token(k, k->ops[i].calls),
		    "ns", per_token(k, k->ops[i].ns),
		    "bytes", per_token(k, k->ops[i].bytes),
		    "gb_per_s", kernel_rate(&k->ops[i])));
	return list;
}

static json_t *
result_json(const struct bench_report *u, const struct bench_result *r)
{
	json_t *v = json_pack("{s:i, s:I, s:f, s:f, s:f, s:o, s:o, s:o, s:o}",
	    "depth", (int)r->depth, "bytes_per_token", (json_int_t)r->bytes,
	    "gb_per_s", rate_of(r) / 1e9,
	    "bandwidth_gb_per_s", u->all.rate / 1e9,
	    "bandwidth_fraction", rate_of(r) / u->all.rate,
	    "decode_top_tok_s", number_or_null(r->top.median),
	    "batch_speedup", number_or_null(r->batch.median / r->decode.median),
	    "decode_kernels", kernels_json(&r->decode_kernels),
	    "prefill_kernels", kernels_json(&r->prefill_kernels));

	if (v == NULL)
		return NULL;
	set_rate(v, "prefill", &r->prefill);
	json_object_set_new(v, "prefill_int8_tops", number_or_null(tops(u, r)));
	set_rate(v, "decode", &r->decode);
	set_rate(v, "batch", &r->batch);
	return v;
}

json_t *
bench_report_json(const struct bench_report *u)
{
	json_t *results = json_array();

	for (int i = 0; i < u->n; i++)
		json_array_append_new(results, result_json(u, &u->results[i]));
	return json_pack("{s:s, s:s, s:i, s:b, s:i, s:i, "
	    "s:{s:b, s:I, s:b, s:f, s:o, s:i, s:i}, s:o}",
	    "model", u->model, "backend", u->backend,
	    "threads", u->all.n_threads, "huge_pages", (int)u->huge,
	    "repeats", u->o->repeats, "batch", u->o->batch,
	    "memory", "device", (int)u->device, "mib", (json_int_t)(u->all.bytes >> 20),
	    "huge_pages", (int)u->all.huge, "gb_per_s", u->all.rate / 1e9,
	    "gb_per_s_one_thread", number_or_null(u->one.rate / 1e9),
	    "streams", u->all.n_streams, "ahead", u->all.ahead,
	    "results", results);
}

/* "33.1 (32.0-33.6)" */
static void
print_rate(const struct bench_rate *r, int width, FILE *out)
{
	char text[64];

	snprintf(text, sizeof(text), "%.1f (%.1f-%.1f)", r->median, r->min,
	    r->max);
	fprintf(out, " %*s", width, text);
}

static void
print_kernels(const char *what, const struct bench_result *r,
    const struct bench_kernels *k, FILE *out)
{
	double all = 0;

	if (k->n == 0)
		return;
	for (int i = 0; i < k->n; i++)
		all += per_token(k, k->ops[i].ns);
	fprintf(out, "\n%s at depth %d, a token: %.1f us\n", what, (int)r->depth,
	    all / 1e3);
	fprintf(out, "%-10s %8s %10s %6s %10s %8s\n", "kernel", "calls", "us",
	    "%", "MB", "GB/s");
	for (int i = 0; i < k->n; i++) {
		const struct backend_op *op = &k->ops[i];

		fprintf(out, "%-10s %8.2f %10.1f %6.1f %10.3f %8.1f\n", op->name,
		    per_token(k, op->calls), per_token(k, op->ns) / 1e3,
		    all > 0 ? 100 * per_token(k, op->ns) / all : 0,
		    per_token(k, op->bytes) / 1e6, kernel_rate(op));
	}
}

/* What prefill computes, and the two ways of decoding that not every run measures. */
static void
print_others(const struct bench_report *u, FILE *out)
{
	for (int i = 0; i < u->n; i++) {
		const struct bench_result *r = &u->results[i];

		if (r->top.median > 0) {
			fprintf(out, "\ndepth %d, only the largest logit:",
			    (int)r->depth);
			print_rate(&r->top, 0, out);
			fputs(" tok/s", out);
		}
		if (u->operations > 0)
			fprintf(out, "\ndepth %d, prefill: %.3f int8 TOP/s of ternary "
			    "products", (int)r->depth, tops(u, r));
		if (r->batch.median > 0) {
			fprintf(out, "\ndepth %d, %d sequences together:",
			    (int)r->depth, u->o->batch);
			print_rate(&r->batch, 0, out);
			fprintf(out, " tok/s, %.2f times one alone",
			    r->batch.median / r->decode.median);
		}
	}
	fputc('\n', out);
}

static void
print_memory(const struct bench_report *u, FILE *out)
{
	if (u->device) {
		fprintf(out, "%s, %s\nmemory of the device (%zu MiB) is read at %.1f GB/s\n"
		    "medians of %d (least-most)\n\n", u->model, u->backend,
		    u->all.bytes >> 20, u->all.rate / 1e9, u->o->repeats);
		return;
	}
	fprintf(out, "%s, %s, weights in pages of %s\n", u->model, u->backend,
	    u->huge ? "2 MiB" : "4 KiB");
	fprintf(out, "memory (%zu MiB, pages of %s) is read at %.1f GB/s by one "
	    "thread, %.1f by %d\nmedians of %d (least-most)\n\n",
	    u->all.bytes >> 20, u->all.huge ? "2 MiB" : "4 KiB",
	    u->one.rate / 1e9, u->all.rate / 1e9, u->all.n_threads,
	    u->o->repeats);
}

void
bench_report_print(const struct bench_report *u, FILE *out)
{
	print_memory(u, out);
	fprintf(out, "%6s %24s %22s %9s %6s %9s\n", "depth", "prefill tok/s",
	    "decode tok/s", "MB/token", "GB/s", "of memory");
	for (int i = 0; i < u->n; i++) {
		const struct bench_result *r = &u->results[i];

		fprintf(out, "%6d", (int)r->depth);
		print_rate(&r->prefill, 24, out);
		print_rate(&r->decode, 22, out);
		fprintf(out, " %9.2f %6.1f %8.0f%%\n", (double)r->bytes / 1e6,
		    rate_of(r) / 1e9, 100 * rate_of(r) / u->all.rate);
	}
	print_others(u, out);
	for (int i = 0; i < u->n; i++) {
		const struct bench_result *r = &u->results[i];

		print_kernels("decode", r, &r->decode_kernels, out);
		print_kernels("prefill", r, &r->prefill_kernels, out);
	}
	if (u->n > 0 && rate_of(&u->results[0]) > u->all.rate)
		fputs("\nMore than all of memory: the model sits in the last "
		    "cache.\n", out);
}

/* gpu_bench: opens a device and measures what is asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/gpu_module.h"
#include "gpu/bench.h"

enum { STREAM_NON_BLOCKING = 1 };

static const struct command {
	const char *name;
	int (*run)(struct bench *b, struct err *e);
	const char *what;
} commands[] = {
	{ "memory", bench_device_memory, "how fast memory is read and copied" },
	{ "gemv", bench_gemv, "ternary products of few rows, of what memory gives" },
	{ "gemm", bench_gemm, "ternary products of many rows" },
	{ "attention", bench_attention, "one row at several depths, against one block a "
	    "head" },
	{ "top", bench_top, "the largest logits of a row" },
	{ "launch", bench_launches, "what a launch in a graph costs" },
};
enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static int
help(FILE *out)
{
	fputs("usage: gpu_bench [OPTION...] [WHAT...]\n\nWHAT, all without one:\n", out);
	for (int i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-18s %s\n", commands[i].name, commands[i].what);
	fputs("\n  --device N         the device (0)\n"
	    "  --runs N           of which the median counts (7)\n"
	    "  --memory-mib N     read and copied (4096)\n"
	    "  --weights-mib N    distinct weights, at least (512)\n"
	    "  --depth N          of attention; again for more (64, 256, 512, 1024, 2048, 4096)\n"
	    "  --small            sizes for an emulator\n"
	    "  --help             this\n\n"
	    "One line for each measurement: medians of replays of a recorded graph, by the\n"
	    "device's events.\n", out);
	return out == stdout ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The number that belongs to an option; ends the process if there is none. */
static long
number(const char *option, const char *text, long most)
{
	char *end = NULL;
	long v = text == NULL ? -1 : strtol(text, &end, 10);

	if (text == NULL || end == text || *end != '\0' || v < 0 || v > most) {
		fprintf(stderr, "gpu_bench: %s wants a number up to %ld\n", option, most);
		exit(EXIT_FAILURE);
	}
	return v;
}

static void
set_small(struct bench *b)
{
	b->small = true;
	b->runs = 1;
	b->memory_bytes = 1 << 20;
	b->weights_bytes = 64 << 10;
	b->depths[0] = 40;
	b->n_depths = 1;
}

/* Options into b; the index of the first argument that is none. */
static int
options(struct bench *b, int argc, char **argv, int *device)
{
	int i;

	for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
		const char *o = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(o, "--help") == 0)
			exit(help(stdout));
		if (strcmp(o, "--small") == 0) {
			set_small(b);
			continue;
		}
		i++;
		if (strcmp(o, "--device") == 0)
			*device = (int)number(o, v, 1000);
		else if (strcmp(o, "--runs") == 0)
			b->runs = (int)number(o, v, BENCH_RUNS_MAX);
		else if (strcmp(o, "--memory-mib") == 0)
			b->memory_bytes = (size_t)number(o, v, 1 << 20) << 20;
		else if (strcmp(o, "--weights-mib") == 0)
			b->weights_bytes = (size_t)number(o, v, 1 << 20) << 20;
		else if (strcmp(o, "--depth") == 0 && b->n_depths < BENCH_DEPTHS_MAX)
			b->depths[b->n_depths++] = (int)number(o, v, 8192);
		else
			exit(help(stderr));
	}
	b->runs = b->runs > 0 ? b->runs : 1;
	return i;
}

static int
open_device(struct bench *b, int device, struct err *e)
{
	char name[64] = "";
	int version = 0, r;

	if ((r = gpu_driver_open(&b->d, device, e)) != 0)
		return r;
	if ((r = b->d.device_name(name, sizeof(name), b->d.device)) != 0 ||
	    (r = b->d.version(&version)) != 0 ||
	    (r = b->d.stream_create(&b->stream, STREAM_NON_BLOCKING)) != 0 ||
	    (r = b->d.event_create(&b->begin, 0)) != 0 ||
	    (r = b->d.event_create(&b->end, 0)) != 0)
		return bench_check(b, r, "opening the device", e);
	if ((r = gpu_driver_processors(&b->d, &b->processors, e)) != 0)
		return r;
	printf("%s, %d multiprocessors, runtime %d, medians of %d\n", name, b->processors,
	    version, b->runs);
	return gpu_module_load(&b->d, name, &b->module, e);
}

static void
close_device(struct bench *b)
{
	if (b->stream != NULL)
		bench_free(b);
	if (b->begin != NULL)
		b->d.event_free(b->begin);
	if (b->end != NULL)
		b->d.event_free(b->end);
	if (b->module != NULL)
		b->d.module_unload(b->module);
	if (b->stream != NULL)
		b->d.stream_destroy(b->stream);
	gpu_driver_close(&b->d);
}

static int
run(struct bench *b, const char *name, struct err *e)
{
	for (int i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0) {
			printf("\n%s: %s\n", name, commands[i].what);
			return commands[i].run(b, e);
		}
	return err_set(e, ERR_RANGE, "nothing is called %.40s; --help says what is", name);
}

int
main(int argc, char **argv)
{
	static struct bench b = { .runs = 7, .memory_bytes = (size_t)4096 << 20,
		.weights_bytes = (size_t)512 << 20 };
	static const int depths[] = { 64, 256, 512, 1024, 2048, 4096 };
	int device = 0, at = options(&b, argc, argv, &device), r;
	struct err e;

	if (b.n_depths == 0)
		for (; b.n_depths < (int)(sizeof(depths) / sizeof(depths[0])); b.n_depths++)
			b.depths[b.n_depths] = depths[b.n_depths];
	r = open_device(&b, device, &e);
	for (int i = at; i < argc && r == 0; i++)
		r = run(&b, argv[i], &e);
	for (int i = 0; i < N_COMMANDS && at == argc && r == 0; i++)
		r = run(&b, commands[i].name, &e);
	if (r != 0)
		fprintf(stderr, "gpu_bench: %s\n", e.text);
	close_device(&b);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

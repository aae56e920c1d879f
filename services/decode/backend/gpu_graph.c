/*
 * A pass of few rows is short compared with what it costs to launch its kernels one by
 * one, so it is recorded once for each shape and replayed.  What changes from pass to pass is
 * read from memory that stays where it is.
 */
#include <string.h>

#include "backend/gpu.h"

enum { CAPTURE_RELAXED = 2 };

static bool
same(const struct gpu_shape *a, const struct gpu_shape *b)
{
	return a->n_rows == b->n_rows && a->n_groups == b->n_groups &&
	    a->n_tiles == b->n_tiles &&
	    a->n_wanted == b->n_wanted && a->n_full == b->n_full && a->top == b->top &&
	    a->stored == b->stored;
}

static struct gpu_graph *
find(struct gpu *g, const struct gpu_shape *s)
{
	for (int i = 0; i < GPU_GRAPHS; i++)
		if (g->graphs[i].exec != NULL && same(&g->graphs[i].shape, s))
			return &g->graphs[i];
	return NULL;
}

/* A free place, or that of the one which was not used for the longest time. */
static struct gpu_graph *
make_room(struct gpu *g)
{
	struct gpu_graph *oldest = &g->graphs[0];

	for (int i = 0; i < GPU_GRAPHS; i++) {
		if (g->graphs[i].exec == NULL)
			return &g->graphs[i];
		if (g->graphs[i].used < oldest->used)
			oldest = &g->graphs[i];
	}
	g->d.exec_free(oldest->exec);
	oldest->exec = NULL;
	return oldest;
}

static int
record(struct gpu *g, const struct gpu_shape *s, struct gpu_graph *to, struct err *e)
{
	void *graph = NULL, *exec = NULL;
	int r, code;

	if ((code = g->d.capture_begin(g->stream, CAPTURE_RELAXED)) != 0)
		return gpu_check(g, code, "recording a step", e);
	r = gpu_step(g, s, e);
	code = g->d.capture_end(g->stream, &graph);
	if (r == 0 && code != 0)
		r = gpu_check(g, code, "recording a step", e);
	if (r == 0 && (code = g->d.graph_make(&exec, graph, 0)) != 0)
		r = gpu_check(g, code, "making a graph of a step", e);
	if (graph != NULL)
		g->d.graph_free(graph);
	if (r == 0)
		*to = (struct gpu_graph){ .shape = *s, .exec = exec };
	return r;
}

int
gpu_graph_step(struct gpu *g, const struct gpu_shape *s, struct err *e)
{
	struct gpu_graph *to = find(g, s);
	int r;

	if (to == NULL) {
		to = make_room(g);
		if ((r = record(g, s, to, e)) != 0)
			return r;
	}
	to->used = g->n_passes;
	if ((r = g->d.graph_launch(to->exec, g->stream)) != 0)
		return gpu_check(g, r, "starting a step", e);
	return 0;
}

void
gpu_graph_free(struct gpu *g)
{
	for (int i = 0; i < GPU_GRAPHS; i++)
		if (g->graphs[i].exec != NULL)
			g->d.exec_free(g->graphs[i].exec);
}

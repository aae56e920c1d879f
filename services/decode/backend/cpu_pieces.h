#ifndef DECODE_CPU_PIECES_H
#define DECODE_CPU_PIECES_H

#include "backend/cpu.h"

/* How a step of the forward pass is cut into pieces for the team. */
enum {
	CPU_PIECES_ROWS = 8,	/* a batch of more is cut into more pieces */
	CPU_PIECES_OUTPUTS = 4,	/* that stay together in a product */
	CPU_PIECES_TILE = 32,	/* and with many rows: see cpu_ternary.h */
	CPU_PIECES_TILES = 4,	/* a member's share, or it waits for others instead */
};

/* Pieces for n things that stay together by unit. */
static inline int
cpu_pieces_count(const struct cpu *c, int n, int unit)
{
	int size = cpu_team_size(c->team);
	int units = (n + unit - 1) / unit;
	int most = size == 1 ? 1 : c->n_active > CPU_PIECES_ROWS ? 8 * size :
	    2 * size;

	most = most > CPU_TEAM_PIECES ? CPU_TEAM_PIECES : most;
	return units < most ? units : most;
}

/* What piece has of them. */
static inline void
cpu_pieces_range(const struct cpu *c, int n, int unit, int piece, int *from,
    int *to)
{
	cpu_team_range(n, unit, piece, c->n_pieces, from, to);
}

/* Outputs of n that stay together: of many rows whole tiles, since a part of one
 * is turned and multiplied like all of it. */
static inline int
cpu_pieces_unit(const struct cpu *c, int n)
{
	return c->n_active > CPU_PIECES_ROWS && n >= CPU_PIECES_TILE *
	    CPU_PIECES_TILES * cpu_team_size(c->team) ? CPU_PIECES_TILE :
	    CPU_PIECES_OUTPUTS;
}

#endif

/*
 * A hidden state for somebody outside: RMSNorm in plain code, one sum in one
 * order, so that it is the same wherever the row stood.
 */
#include <math.h>

#include "backend/cpu.h"

void
cpu_tell_hidden(const struct cpu *c, int i, float *out)
{
	const float *x = cpu_row(c->h, i, c->hidden_stride);
	int n = c->m->config.hidden;
	double sum = 0, length;

	for (int k = 0; k < n; k++)
		sum += (double)x[k] * (double)x[k];
	length = sqrt(sum / n + (double)c->m->config.norm_eps);
	for (int k = 0; k < n; k++)
		out[k] = (float)((double)x[k] / length) * c->m->norm[k];
}

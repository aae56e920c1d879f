#include "pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"

int
pool_init(struct pool *p, const char *name, int32_t n_embd, struct err *e)
{
	*p = (struct pool){ .n_embd = n_embd };
	if (name[0] == '\0')
		return 0;
	if (strcmp(name, "mean") != 0 && strcmp(name, "last") != 0)
		return err_set_param(e, ERR_RANGE, "pooling",
		    "pooling is '%.16s', neither mean nor last", name);
	p->kind = name[0] == 'm' ? POOL_MEAN : POOL_LAST;
	if ((p->sum = calloc((size_t)n_embd, sizeof(*p->sum))) == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a vector");
	return 0;
}

void
pool_free(struct pool *p)
{
	free(p->sum);
	buf_free(&p->text);
	*p = (struct pool){ 0 };
}

bool
pool_wants(const struct pool *p, int32_t pos, int32_t n_prompt)
{
	return p->kind == POOL_MEAN ||
	    (p->kind == POOL_LAST && pos == n_prompt - 1);
}

void
pool_add(struct pool *p, int32_t pos, const float *hidden)
{
	if (pos == 0 || p->kind == POOL_LAST) {
		memset(p->sum, 0, (size_t)p->n_embd * sizeof(*p->sum));
		p->n_rows = 0;
	}
	for (int32_t i = 0; i < p->n_embd; i++)
		p->sum[i] += (double)hidden[i];
	p->n_rows++;
}

/* The mean has the direction of the sum, and only that is told. */
bool
pool_finish(struct pool *p)
{
	double square = 0, length;

	for (int32_t i = 0; i < p->n_embd; i++)
		square += p->sum[i] * p->sum[i];
	if (!(square > 0) || !isfinite(square))
		return false;
	length = sqrt(square);
	buf_clear(&p->text);
	for (int32_t i = 0; i < p->n_embd; i++) {
		float x = (float)(p->sum[i] / length);
		uint8_t b[4];
		uint32_t u;

		memcpy(&u, &x, sizeof(u));
		for (int k = 0; k < 4; k++)
			b[k] = (uint8_t)(u >> 8 * k);
		/* In place of the sum, which is not needed any more. */
		memcpy((uint8_t *)p->sum + 4 * (size_t)i, b, 4);
	}
	base64_encode(p->sum, 4 * (size_t)p->n_embd, &p->text);
	return !p->text.failed;
}

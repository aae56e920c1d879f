#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kv_pages.h"

int
kv_pages_init(struct kv_pages *p, int32_t n, struct err *e)
{
	int32_t *stack = malloc((size_t)n * sizeof(*stack));

	if (stack == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for %d KV pages",
		    (int)n);
	for (int32_t i = 0; i < n; i++)
		stack[i] = n - 1 - i;	/* low numbers are used first */
	*p = (struct kv_pages){ stack, n, n };
	return 0;
}

void
kv_pages_finish(struct kv_pages *p)
{
	free(p->free);
	*p = (struct kv_pages){ 0 };
}

bool
kv_pages_take(struct kv_pages *p, int32_t *pages, int32_t n)
{
	if (n > p->n_free)
		return false;
	for (int32_t i = 0; i < n; i++)
		pages[i] = p->free[--p->n_free];
	return true;
}

void
kv_pages_give(struct kv_pages *p, const int32_t *pages, int32_t n)
{
	assert(p->n_free + n <= p->n);
	for (int32_t i = n - 1; i >= 0; i--)
		p->free[p->n_free++] = pages[i];
}

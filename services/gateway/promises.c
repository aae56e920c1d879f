#include "promises.h"

static void
forget(struct promises *p, int i)
{
	p->kept[i] = p->kept[--p->n];
}

static void
expire(struct promises *p, int64_t now_ms)
{
	for (int i = p->n - 1; i >= 0; i--)
		if (now_ms > p->kept[i].due_ms + PROMISES_GRACE_MS) {
			forget(p, i);
			p->distrust_ms = now_ms + PROMISES_DISTRUST_MS;
		}
}

void
promises_add(struct promises *p, uint64_t ticket, int64_t due_ms)
{
	if (p->n < PROMISES_MAX)
		p->kept[p->n++] = (struct promise){ ticket, due_ms };
}

/* The index of what this ticket was told for now, or -1. */
static int
find(const struct promises *p, uint64_t ticket, int64_t now_ms)
{
	for (int i = 0; i < p->n; i++)
		if (p->kept[i].ticket == ticket && p->kept[i].due_ms <= now_ms)
			return i;
	return -1;
}

bool
promises_expects(const struct promises *p, uint64_t ticket, int64_t now_ms)
{
	return find(p, ticket, now_ms) >= 0;
}

bool
promises_came(struct promises *p, uint64_t ticket, int64_t now_ms)
{
	int i;

	expire(p, now_ms);
	if ((i = find(p, ticket, now_ms)) < 0)
		return false;
	forget(p, i);
	return true;
}

int
promises_due(struct promises *p, int64_t now_ms)
{
	int n = 0;

	expire(p, now_ms);
	if (p->distrust_ms > now_ms)
		return 0;
	for (int i = 0; i < p->n; i++)
		n += p->kept[i].due_ms <= now_ms + PROMISES_SOON_MS;
	return n;
}

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "memory.h"

enum { INTERLEAVE = 3 };	/* of mbind, in <numaif.h>, which is libnuma's */

size_t
memory_available(void)
{
	size_t group = cgroup_memory(""), most;
	unsigned long long kib = 0;
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];

	while (f != NULL && kib == 0 && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "MemAvailable: %llu kB", &kib) != 1)
			kib = 0;
	if (f != NULL)
		fclose(f);
	most = kib > 0 && kib < SIZE_MAX >> 10 ? (size_t)kib << 10 : SIZE_MAX;
	return most < group ? most : group;
}

static int
no_memory(size_t n, const char *what, struct err *e)
{
	size_t have = memory_available();

	if (have == SIZE_MAX || have >= n)
		return err_set(e, ERR_NO_MEMORY, "no %zu MiB of memory for %s",
		    n >> 20, what);
	return err_set(e, ERR_NO_MEMORY, "no %zu MiB of memory for %s; %zu MiB "
	    "are available", n >> 20, what, have >> 20);
}

/* size bytes at an address that huge pages want, or NULL. */
static void *
map_aligned(size_t size)
{
	const size_t large = MEMORY_HUGE_PAGE;
	char *p = mmap(NULL, size + large, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (p == MAP_FAILED)
		return NULL;
	before = (large - (uintptr_t)p % large) % large;
	if (before > 0)
		munmap(p, before);
	munmap(p + before + size, large - before);
	return p + before;
}

/* Deal its pages out, none of which is taken yet; where that is not allowed,
 * they come from where they are touched. */
static void
spread(const struct memory *m, uint64_t nodes)
{
	unsigned long mask[2] = { (unsigned long)nodes };

	if ((nodes & (nodes - 1)) != 0)
		(void)syscall(SYS_mbind, m->p, m->n, INTERLEAVE, mask,
		    sizeof(mask) * CHAR_BIT, 0);
}

/*
 * Reserved pages, all of them at once: a control group may forbid them, and would
 * do so by SIGBUS at the first write.
 */
static bool
take_reserved(struct memory *m, uint64_t nodes)
{
#ifdef MADV_POPULATE_WRITE
	/* MAP_HUGETLB alone means the machine's default size, which may be 1 GiB;
	 * 21 is the logarithm of 2 MiB. */
	m->p = mmap(NULL, m->n, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_HUGETLB | 21 << MAP_HUGE_SHIFT, -1, 0);
	if (m->p == MAP_FAILED)
		return false;
	spread(m, nodes);
	if (madvise(m->p, m->n, MADV_POPULATE_WRITE) == 0)
		return true;
	munmap(m->p, m->n);
#else
	(void)m;
	(void)nodes;
#endif
	return false;
}

int
memory_take(size_t n, bool huge, uint64_t nodes, const char *what,
    struct memory *m, struct err *e)
{
	const size_t large = MEMORY_HUGE_PAGE;
	struct memory got = { 0 };

	if (n > SIZE_MAX - 2 * large)
		return no_memory(n, what, e);
	got.n = n == 0 ? large : (n + large - 1) / large * large;
	got.reserved = huge && take_reserved(&got, nodes);
	if (!got.reserved) {
		if (n > memory_available() ||
		    (got.p = map_aligned(got.n)) == NULL)
			return no_memory(n, what, e);
		(void)madvise(got.p, got.n, huge ? MADV_HUGEPAGE :
		    MADV_NOHUGEPAGE);
		spread(&got, nodes);
	}
	*m = got;
	return 0;
}

void
memory_free(struct memory *m)
{
	if (m->p != NULL)
		munmap(m->p, m->n);
	*m = (struct memory){ 0 };
}

int
memory_populate(const struct memory *m, const char *what, struct err *e)
{
#ifdef MADV_POPULATE_WRITE
	/* An older kernel takes them when they are written to. */
	if (madvise(m->p, m->n, MADV_POPULATE_WRITE) != 0 && errno == ENOMEM)
		return no_memory(m->n, what, e);
#else
	(void)m;
	(void)what;
	(void)e;
#endif
	return 0;
}

/*
 * A mapping is a line with its addresses and then lines with counts.  A mapping
 * that is larger than p [n] counts as much as could be inside.
 */
size_t
memory_huge_in(const char *smaps, const void *p, size_t n)
{
	static const char *const counts[] = { "AnonHugePages:",
		"FilePmdMapped:", "Private_Hugetlb:", "ShmemPmdMapped:" };
	unsigned long long from = (uintptr_t)p, to = from + n, a = 0, b = 0, kib;
	FILE *f = fopen(smaps, "re");
	char line[512];
	size_t total = 0;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		unsigned long long x, y;

		if (sscanf(line, "%llx-%llx ", &x, &y) == 2) {
			a = x > from ? x : from;
			b = y < to ? y : to;
			continue;
		}
		for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
			if (a < b && strncmp(line, counts[i],
			    strlen(counts[i])) == 0 && sscanf(line +
			    strlen(counts[i]), "%llu kB", &kib) == 1)
				total += (size_t)(kib << 10 < b - a ? kib << 10 :
				    b - a);
	}
	if (f != NULL)
		fclose(f);
	return total;
}

size_t
memory_huge(const void *p, size_t n)
{
	return memory_huge_in("/proc/self/smaps", p, n);
}

bool
memory_has_huge(const char *path)
{
	FILE *f = fopen(path != NULL ? path :
	    "/sys/kernel/mm/transparent_hugepage/enabled", "re");
	char line[128] = "";

	if (f != NULL) {
		if (fgets(line, sizeof(line), f) == NULL)
			line[0] = '\0';
		fclose(f);
	}
	return strstr(line, "[always]") != NULL ||
	    strstr(line, "[madvise]") != NULL;
}

int
memory_lock(const void *p, size_t n, const char *what, struct err *e)
{
	struct rlimit limit = { 0 };
	int why;

	if (mlock(p, n) == 0)
		return 0;
	why = errno;
	if ((why == ENOMEM || why == EPERM) &&
	    getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < n)
		return err_set(e, ERR_SYSTEM, "%s (%zu MiB) cannot be locked in "
		    "memory: the limit is %llu KiB; raise LimitMEMLOCK= of the "
		    "unit, or ulimit -l", what, n >> 20,
		    (unsigned long long)limit.rlim_cur >> 10);
	return err_set(e, ERR_SYSTEM, "%s (%zu MiB) cannot be locked in memory: "
	    "%s", what, n >> 20, strerror(why));
}

/*
 * sysfs lists processors as "0-3,8".  The siblings of a core are in
 * cpuN/topology/core_cpus_list, the processors of a node in nodeN/cpulist.
 */
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "topology.h"

enum { PATH_LEN = 1024 };

static bool
has(const struct topology_set *s, int cpu)
{
	return cpu >= 0 && cpu < TOPOLOGY_CPUS &&
	    (s->bits[cpu / 64] >> cpu % 64 & 1) != 0;
}

static void
put(struct topology_set *s, int cpu)
{
	s->bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

void
topology_mask(struct topology_set *set)
{
	*set = (struct topology_set){ 0 };
	if (sched_getaffinity(0, sizeof(*set), (cpu_set_t *)set) != 0)
		put(set, 0);
}

/* The first line of a file, or "" */
static void
read_line(const char *root, const char *path, char *line, size_t size)
{
	char name[PATH_LEN];
	FILE *f;

	line[0] = '\0';
	if (snprintf(name, sizeof(name), "%s%s", root, path) >= (int)sizeof(name) ||
	    (f = fopen(name, "re")) == NULL)
		return;
	if (fgets(line, (int)size, f) == NULL)
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	fclose(f);
}

/* "0-3,8" */
static struct topology_set
parse_list(const char *p)
{
	struct topology_set s = { 0 };

	while (*p >= '0' && *p <= '9') {
		char *end;
		long a = strtol(p, &end, 10), b = a;

		if (*end == '-')
			b = strtol(end + 1, &end, 10);
		for (; a <= b && a < TOPOLOGY_CPUS; a++)
			put(&s, (int)a);
		p = *end == ',' ? end + 1 : "";
	}
	return s;
}

/* The processors of cpu's core. */
static struct topology_set
siblings(const char *root, int cpu)
{
	struct topology_set s;
	char path[80], line[4096];

	snprintf(path, sizeof(path),
	    "/sys/devices/system/cpu/cpu%d/topology/core_cpus_list", cpu);
	read_line(root, path, line, sizeof(line));
	s = parse_list(line);
	put(&s, cpu);
	return s;
}

static void
read_cores(const char *root, const struct topology_set *mask,
    struct topology *t)
{
	struct topology_set seen = { 0 }, others = { 0 };

	for (int cpu = 0; cpu < TOPOLOGY_CPUS; cpu++) {
		struct topology_set core;

		if (!has(mask, cpu))
			continue;
		t->n_cpus++;
		if (has(&seen, cpu)) {
			put(&others, cpu);
			continue;
		}
		core = siblings(root, cpu);
		for (size_t i = 0; i < TOPOLOGY_CPUS / 64; i++)
			seen.bits[i] |= core.bits[i];
		t->n_cores++;
		if (t->n_list < TOPOLOGY_LIST)
			t->list[t->n_list++] = cpu;
	}
	for (int cpu = 0; cpu < TOPOLOGY_CPUS; cpu++)
		if (has(&others, cpu) && t->n_list < TOPOLOGY_LIST)
			t->list[t->n_list++] = cpu;
}

static void
read_nodes(const char *root, const struct topology_set *mask,
    struct topology *t)
{
	for (int node = 0; node < 64; node++) {
		struct topology_set s;
		char path[64], line[4096];

		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/"
		    "cpulist", node);
		read_line(root, path, line, sizeof(line));
		s = parse_list(line);
		for (size_t i = 0; i < TOPOLOGY_CPUS / 64; i++)
			if ((s.bits[i] & mask->bits[i]) != 0)
				t->nodes |= UINT64_C(1) << node;
	}
}

void
topology_read(const char *root, const struct topology_set *mask,
    struct topology *t)
{
	*t = (struct topology){ 0 };
	read_cores(root, mask, t);
	read_nodes(root, mask, t);
	t->quota = cgroup_processors(root);
	if (t->n_cpus == 0)
		t->n_cpus = t->n_cores = t->n_list = 1;
}

int
topology_threads(const struct topology *t)
{
	return t->quota > 0 && t->quota < t->n_cores ? t->quota : t->n_cores;
}

/*
 * /proc/self/cgroup names the process's group: "0::/system.slice/a.service"; lines of
 * version 1 begin otherwise.  In a container that is "0::/", and the group's files lie
 * in /sys/fs/cgroup itself.  cpu.max is "MAX PERIOD" in microseconds, memory.max bytes;
 * "max" means none.
 */
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cgroup.h"

enum { PATH_LEN = 1024 };

typedef void group_fn(const char *dir, void *least);

static FILE *
open_in(const char *dir, const char *name)
{
	char path[PATH_LEN];

	return snprintf(path, sizeof(path), "%s/%s", dir, name) <
	    (int)sizeof(path) ? fopen(path, "re") : NULL;
}

/* The two numbers of a file's first line: how many there are. */
static int
read_numbers(const char *dir, const char *name, long long *a, long long *b)
{
	FILE *f = open_in(dir, name);
	int n = f != NULL ? fscanf(f, "%lld %lld", a, b) : 0;

	if (f != NULL)
		fclose(f);
	return n;
}

/* fn for the directory of each group, the process's own first. */
static void
each(const char *root, group_fn *fn, void *least)
{
	char group[PATH_LEN] = "", line[PATH_LEN], dir[PATH_LEN], *end;
	FILE *f = open_in(root, "proc/self/cgroup");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "0::/", 4) == 0)
			snprintf(group, sizeof(group), "%s", line + 3);
	if (f != NULL)
		fclose(f);
	group[strcspn(group, "\n")] = '\0';
	if (strcmp(group, "/") == 0)
		group[0] = '\0';
	for (;;) {
		if (snprintf(dir, sizeof(dir), "%s/sys/fs/cgroup%s", root, group) <
		    (int)sizeof(dir))
			fn(dir, least);
		if ((end = strrchr(group, '/')) == NULL)
			return;
		*end = '\0';
	}
}

static void
processors(const char *dir, void *least)
{
	long long quota, period, n;
	int *l = least;

	if (read_numbers(dir, "cpu.max", &quota, &period) != 2 || quota < 1 ||
	    period < 1)
		return;
	n = quota / period > 1 ? quota / period : 1;
	if (n <= INT_MAX && (*l == 0 || n < *l))
		*l = (int)n;
}

int
cgroup_processors(const char *root)
{
	int least = 0;

	each(root, processors, &least);
	return least;
}

/* The file cache of a group, which it gives up before it is short. */
static long long
cached(const char *dir)
{
	FILE *f = open_in(dir, "memory.stat");
	long long sum = 0, n;
	char line[128];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "inactive_file %lld", &n) == 1 ||
		    sscanf(line, "active_file %lld", &n) == 1)
			sum += n;
	if (f != NULL)
		fclose(f);
	return sum;
}

static void
room(const char *dir, void *least)
{
	long long max, used, none, left;
	size_t *l = least;

	if (read_numbers(dir, "memory.max", &max, &none) != 1 || max < 0 ||
	    read_numbers(dir, "memory.current", &used, &none) != 1)
		return;
	left = max - used + cached(dir);
	left = left < 0 ? 0 : left > max ? max : left;
	if ((unsigned long long)left < *l)
		*l = (size_t)left;
}

size_t
cgroup_memory(const char *root)
{
	size_t least = SIZE_MAX;

	each(root, room, &least);
	return least;
}

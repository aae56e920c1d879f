#ifndef DECODE_CGROUP_H
#define DECODE_CGROUP_H

#include <stddef.h>

/*
 * What the control groups (version 2) of this process allow it, which the kernel's
 * figures for the machine do not say: a unit with MemoryMax= or CPUQuota=, a
 * container.  The least of the process's own group and all above it counts.
 *
 * root: "", or a directory that stands for / (tests).  Any thread.
 */

/* Whole processors, at least 1; 0: no limit. */
int cgroup_processors(const char *root);

/* Bytes that may still be had, what the kernel would drop from the groups' file
 * cache among them; SIZE_MAX: no limit. */
size_t cgroup_memory(const char *root);

#endif

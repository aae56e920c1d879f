/* Processors, cores, nodes and quotas, as a made-up machine tells of them. */
#include <check.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup.h"
#include "topology.h"

static char root[64];

static void
setup(void)
{
	snprintf(root, sizeof(root), "/tmp/test_topology-" "XX" "XX" "XX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void
teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	ck_assert_int_eq(system(command), 0);
}

static void
put(const char *path, const char *text)
{
	char name[PATH_MAX];
	FILE *f;

	snprintf(name, sizeof(name), "%s%s", root, path);
	for (char *c = name + strlen(root) + 1; *c != '\0'; c++)
		if (*c == '/') {
			*c = '\0';
			mkdir(name, 0700);
			*c = '/';
		}
	ck_assert_ptr_nonnull(f = fopen(name, "w"));
	fprintf(f, "%s\n", text);
	fclose(f);
}

/* Processors 0..7: two nodes of two cores, each core a pair (i, i + 4). */
static void
put_machine(void)
{
	char path[96], text[16];

	for (int i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/"
		    "topology/core_cpus_list", i);
		snprintf(text, sizeof(text), "%d,%d", i % 4, i % 4 + 4);
		put(path, text);
	}
	put("/sys/devices/system/node/node0/cpulist", "0-1,4-5");
	put("/sys/devices/system/node/node1/cpulist", "2-3,6-7");
}

static struct topology
read_with(uint64_t mask)
{
	struct topology_set s = { .bits = { mask } };
	struct topology t;

	topology_read(root, &s, &t);
	return t;
}

/* A mask; what there is in it, and the order in which it is taken. */
static const struct {
	uint64_t mask, nodes;
	int n_cpus, n_cores;
	int list[8];
} masks[] = {
	{ 0xff, 3, 8, 4, { 0, 1, 2, 3, 4, 5, 6, 7 } },
	{ 0x33, 1, 4, 2, { 0, 1, 4, 5 } },
	{ 0xf0, 3, 4, 4, { 4, 5, 6, 7 } },
	{ 0xd4, 3, 4, 3, { 2, 4, 7, 6 } },
	{ 0x08, 2, 1, 1, { 3 } },
};

START_TEST(cores_come_before_their_siblings)
{
	struct topology t;

	put_machine();
	t = read_with(masks[_i].mask);
	ck_assert_int_eq(t.n_cpus, masks[_i].n_cpus);
	ck_assert_int_eq(t.n_cores, masks[_i].n_cores);
	ck_assert_uint_eq(t.nodes, masks[_i].nodes);
	ck_assert_int_eq(t.n_list, t.n_cpus);
	for (int i = 0; i < t.n_list; i++)
		ck_assert_int_eq(t.list[i], masks[_i].list[i]);
	ck_assert_int_eq(topology_threads(&t), t.n_cores);
}
END_TEST

START_TEST(a_system_that_tells_nothing_has_a_core_for_each_processor)
{
	struct topology t = read_with(0x16);

	ck_assert_int_eq(t.n_cpus, 3);
	ck_assert_int_eq(t.n_cores, 3);
	ck_assert_int_eq(t.quota, 0);
	ck_assert_uint_eq(t.nodes, 0);
	ck_assert_int_eq(topology_threads(&t), 3);
	t = read_with(0);
	ck_assert_int_eq(topology_threads(&t), 1);
	ck_assert_int_eq(t.n_list, 1);
}
END_TEST

/* Limits of the group, of the one above and of the root; threads of 4 cores. */
static const struct {
	const char *own, *above, *top;
	int threads;
} quotas[] = {
	{ "max 100000", NULL, NULL, 4 },
	{ "200000 100000", NULL, NULL, 2 },
	{ "350000 100000", NULL, NULL, 3 },
	{ "50000 100000", NULL, NULL, 1 },
	{ "900000 100000", NULL, NULL, 4 },
	{ "max 100000", "300000 100000", NULL, 3 },
	{ "300000 100000", "100000 50000", "max 1", 2 },
	{ NULL, NULL, "100000 100000", 1 },
	{ "nonsense", "0 0", "-1 5", 4 },
};

START_TEST(a_quota_bounds_the_threads)
{
	struct topology t;

	put_machine();
	put("/proc/self/cgroup", "0::/halo.slice/w.service");
	if (quotas[_i].own != NULL)
		put("/sys/fs/cgroup/halo.slice/w.service/cpu.max",
		    quotas[_i].own);
	if (quotas[_i].above != NULL)
		put("/sys/fs/cgroup/halo.slice/cpu.max", quotas[_i].above);
	if (quotas[_i].top != NULL)
		put("/sys/fs/cgroup/cpu.max", quotas[_i].top);
	t = read_with(0xff);
	ck_assert_int_eq(topology_threads(&t), quotas[_i].threads);
}
END_TEST

START_TEST(a_container_sees_its_group_as_the_root)
{
	struct topology t;

	put_machine();
	put("/proc/self/cgroup", "0::/");
	put("/sys/fs/cgroup/cpu.max", "200000 100000");
	t = read_with(0xff);
	ck_assert_int_eq(t.quota, 2);
}
END_TEST

START_TEST(groups_of_version_1_beside_it_do_not_hide_the_group)
{
	struct topology t;

	put_machine();
	put("/proc/self/cgroup", "12:cpu:/other\n0::/halo.slice\n");
	put("/sys/fs/cgroup/halo.slice/cpu.max", "300000 100000");
	t = read_with(0xff);
	ck_assert_int_eq(t.quota, 3);
}
END_TEST

#define W "/sys/fs/cgroup/halo.slice/w.service/"
#define S "/sys/fs/cgroup/halo.slice/"
static const struct {
	struct { const char *path, *text; } files[5];
	size_t room;
} rooms[] = {
	{ { { W "memory.max", "max" }, { W "memory.current", "5" } }, SIZE_MAX },
	{ { { W "memory.max", "1000" }, { W "memory.current", "300" } }, 700 },
	{ { { W "memory.max", "1000" }, { W "memory.current", "1200" } }, 0 },
	{ { { W "memory.max", "1000" } }, SIZE_MAX },
	{ { { W "memory.max", "1000" }, { W "memory.current", "900" },
	    { W "memory.stat", "anon 500\ninactive_file 100\nactive_file 250\n"
	      "unevictable 7" } }, 450 },
	{ { { W "memory.max", "1000" }, { W "memory.current", "10" },
	    { W "memory.stat", "inactive_file 400" } }, 1000 },
	{ { { W "memory.max", "1000" }, { W "memory.current", "10" },
	    { S "memory.max", "500" }, { S "memory.current", "450" } }, 50 },
	{ { { S "memory.max", "nonsense" }, { S "memory.current", "450" } },
	  SIZE_MAX },
};

START_TEST(a_limit_of_memory_is_that_of_the_narrowest_group)
{
	put("/proc/self/cgroup", "0::/halo.slice/w.service");
	for (size_t i = 0; i < 5 && rooms[_i].files[i].path != NULL; i++)
		put(rooms[_i].files[i].path, rooms[_i].files[i].text);
	ck_assert_uint_eq(cgroup_memory(root), rooms[_i].room);
}
END_TEST

START_TEST(a_container_has_its_memory_at_the_root)
{
	put("/proc/self/cgroup", "0::/");
	put("/sys/fs/cgroup/memory.max", "4096");
	put("/sys/fs/cgroup/memory.current", "96");
	ck_assert_uint_eq(cgroup_memory(root), 4000);
}
END_TEST

START_TEST(this_machine_has_at_least_one)
{
	struct topology_set mask;
	struct topology t;

	topology_mask(&mask);
	topology_read("", &mask, &t);
	ck_assert_int_ge(t.n_cores, 1);
	ck_assert_int_ge(t.n_cpus, t.n_cores);
	ck_assert_int_ge(topology_threads(&t), 1);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *suite = suite_create("topology");
	TCase *t = tcase_create("topology");
	SRunner *r = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, cores_come_before_their_siblings, 0,
	    COUNT(masks));
	tcase_add_test(t,
	    a_system_that_tells_nothing_has_a_core_for_each_processor);
	tcase_add_loop_test(t, a_quota_bounds_the_threads, 0, COUNT(quotas));
	tcase_add_test(t, a_container_sees_its_group_as_the_root);
	tcase_add_test(t, groups_of_version_1_beside_it_do_not_hide_the_group);
	tcase_add_loop_test(t, a_limit_of_memory_is_that_of_the_narrowest_group, 0,
	    sizeof(rooms) / sizeof(rooms[0]));
	tcase_add_test(t, a_container_has_its_memory_at_the_root);
	tcase_add_test(t, this_machine_has_at_least_one);
	suite_add_tcase(suite, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

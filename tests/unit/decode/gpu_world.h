#ifndef TESTS_GPU_WORLD_H
#define TESTS_GPU_WORLD_H

/*
 * Tests of the GPU backend run on an emulator (tests/gpu), three times, since the matrix
 * instructions of gfx11, gfx12 and sm_90 want their operands in different lanes.  The
 * library that is emulated is found like the real one, so the program starts itself again
 * with each of them in LD_LIBRARY_PATH.  On a machine with a device, GPU_TARGET=device runs
 * everything on that.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/gpu_code.h"
#include "slow.h"

static const char *const gpu_targets[] = { "gfx11", "gfx12", "sm90" };

/* Is this the first of them, which may do more than the others? */
static inline bool
gpu_world_first(void)
{
	const char *target = getenv("GPU_TARGET");

	return strcmp(target, gpu_targets[0]) == 0 || strcmp(target, "device") == 0;
}

/* Run what c has; the program's exit status. */
static inline int
gpu_world_run(TCase *c, const char *name)
{
	Suite *s = suite_create(name);
	SRunner *r;
	int failed;

	tcase_set_timeout(c, 300);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static inline int
gpu_world_again(const char *program, const char *target)
{
	char dir[256];
	int status;
	pid_t pid;

	snprintf(dir, sizeof(dir), "%s/gpu/%s", BUILD, target);
	fflush(stdout);
	if ((pid = fork()) == 0) {
		setenv("LD_LIBRARY_PATH", dir, 1);
		setenv("GPU_TARGET", target, 1);
		execl("/proc/self/exe", program, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return EXIT_FAILURE;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

/* main: run_tests with each target. */
static inline int
gpu_world_main(const char *program, int (*run_tests)(void))
{
	int failed = 0;

	if (getenv("GPU_TARGET") != NULL)
		return run_tests();
	if (gpu_codes[0].name == NULL || SLOW) {
		printf("not run: no code for a GPU in this build, or coroutines that "
		    "its sanitizer does not know\n");
		return EXIT_SUCCESS;
	}
	for (size_t i = 0; i < sizeof(gpu_targets) / sizeof(gpu_targets[0]); i++)
		failed += gpu_world_again(program, gpu_targets[i]) != EXIT_SUCCESS;
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif

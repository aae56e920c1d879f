#ifndef TESTS_MODEL_FILE_H
#define TESTS_MODEL_FILE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/synth.h"

/*
 * A fixture: a small model of random weights in a file of its own, in a
 * directory where nothing may be left behind.
 */
static char model_dir[40];
static char model_path[64];

static void
model_file_setup(void)
{
	struct err e;
	struct model_config c;

	strcpy(model_dir, "/tmp/test_model-" "XX" "XX" "XX");
	ck_assert_ptr_nonnull(mkdtemp(model_dir));
	snprintf(model_path, sizeof(model_path), "%s/m.h1b", model_dir);
	ck_assert_int_eq(synth_config("tiny", &c, &e), 0);
	ck_assert_msg(model_write_random(model_path, &c, 1, &e) == 0, "%s",
	    e.text);
}

static void
model_file_teardown(void)
{
	unlink(model_path);
	ck_assert_int_eq(rmdir(model_dir), 0);
}

#endif

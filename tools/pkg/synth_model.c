#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "model/h1b.h"
#include "model/synth.h"
#include "pkg.h"
#include "progress.h"

static int
number(const char *option, const char *text, uint64_t min, uint64_t max,
    uint64_t *out, struct err *e)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' ||
	    *out < min || *out > max)
		return err_set(e, ERR_RANGE, "%s is '%.30s', not in %llu..%llu",
		    option, text, (unsigned long long)min,
		    (unsigned long long)max);
	return 0;
}

int
pkg_synth(int argc, char *argv[])
{
	const char *file, *name = NULL, *seed_text = "1", *layers_text = NULL;
	const char *head = NULL, *body = NULL;
	struct synth_arch a;
	uint64_t seed, layers;
	bool force = false;
	struct err e;
	int rc;
	const struct pkg_option options[] = {
		{ "--arch", &name, NULL }, { "--seed", &seed_text, NULL },
		{ "--layers", &layers_text, NULL }, { "--force", NULL, &force },
		{ "--head", &head, NULL }, { "--body", &body, NULL },
		{ 0 },
	};

	if (pkg_options(argc, argv, options, &file, 1, &e) != 0)
		return pkg_fail(&e);
	if (name == NULL) {
		err_set(&e, ERR_RANGE, "--arch is missing");
		return pkg_fail(&e);
	}
	if (synth_find(name, &a, &e) != 0 ||
	    pkg_head(head, &a.head, &a.head_group, &e) != 0 ||
	    pkg_body(body, &a.body, &e) != 0 ||
	    number("--seed", seed_text, 0, UINT64_MAX, &seed, &e) != 0)
		return pkg_fail(&e);
	if (layers_text != NULL) {
		if (number("--layers", layers_text, 1, MODEL_LAYERS_MAX,
		    &layers, &e) != 0)
			return pkg_fail(&e);
		a.config.n_layers = (int32_t)layers;
	}
	if (!force && access(file, F_OK) == 0) {
		err_set(&e, ERR_EXISTS, "%.200s exists already", file);
		return pkg_fail(&e);
	}
	rc = synth_write_arch(file, &a, seed, progress_show, &e);
	progress_end();
	return rc != 0 ? pkg_fail(&e) : PKG_OK;
}

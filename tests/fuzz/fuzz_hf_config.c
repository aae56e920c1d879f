/*
 * Any bytes as a config.json, and as both it and a generation_config.json.
 * What is accepted has sizes that a model may have.
 */
#include <stdlib.h>

#include "json.h"
#include "model/hf_config.h"
#include "model/hf_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf text = { 0 };
	struct hf_config c;
	struct err e;
	json_t *o;

	if (json_scan((const char *)data, n, JSON_DEPTH_MAX, 1 << 20, &e) != 0)
		return 0;
	o = json_loadb((const char *)data, n, JSON_REJECT_DUPLICATES, NULL);
	if (o == NULL)
		return 0;
	for (int i = 0; i < 2; i++)
		if (hf_config_parse(o, i == 0 ? NULL : o, &c, &e) == 0 &&
		    (model_config_check(&c.config, &e) != 0 ||
		    c.architecture == NULL))
			abort();
	(void)hf_files_template(o, &text, &e);
	buf_free(&text);
	json_decref(o);
	return 0;
}

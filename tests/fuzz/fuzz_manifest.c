/*
 * Any bytes as a manifest, as the answers of a hub's index, and as a name.  A
 * manifest that is accepted is written and read back as the same; no file of
 * one, wherever it came from, has a name that leads out of its directory.
 */
#include <stdlib.h>
#include <string.h>

/* These are no library: the command alone is linked with them. */
#include "../../tools/pkg/manifest.c"
#include "../../tools/pkg/store.c"
#define ends_in hub_ends_in
#include "../../tools/pkg/download_setup.c"
#include "../../tools/pkg/hub.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_names(const struct manifest *m)
{
	for (size_t i = 0; i < m->n_files; i++)
		if (strchr(m->files[i].path, '/') != NULL ||
		    m->files[i].path[0] == '.' || m->files[i].path[0] == '\0' ||
		    strlen(m->files[i].url) > MANIFEST_URL_MAX)
			abort();
}

static void
check_manifest(const char *text, size_t n)
{
	struct manifest m, again;
	char *a, *b;
	json_t *o;

	if (manifest_parse(text, n, "fuzz", &m, NULL) != 0)
		return;
	check_names(&m);
	if ((o = manifest_json(&m)) == NULL ||
	    (a = json_dumps(o, 0)) == NULL ||
	    manifest_parse(a, strlen(a), "again", &again, NULL) != 0)
		abort();
	json_decref(o);
	o = manifest_json(&again);
	if ((b = json_dumps(o, 0)) == NULL || strcmp(a, b) != 0)
		abort();
	json_decref(o);
	free(a);
	free(b);
	manifest_size(&m);
	manifest_pinned(&m);
	manifest_finish(&m);
	manifest_finish(&again);
}

static void
check_hub(const char *text, size_t n, const char *file)
{
	struct hub_request r = { "http://hub", "own/er", "main", file, 1 };
	struct manifest m = { 0 };

	if (hub_take_commit(text, n, &m, NULL) == 0 &&
	    strlen(m.revision) != 40)
		abort();
	if (hub_take_tree(&r, text, n, &m, NULL) == 0)
		check_names(&m);
	manifest_finish(&m);
}

static void
check_name(const char *text)
{
	char name[STORE_NAME_MAX + 1], a[STORE_NAME_MAX + 1],
	    b[STORE_NAME_MAX + 1];

	if (store_clean_name(text, name) && (strchr(name, '/') != NULL ||
	    name[0] == '.' || store_check_name(name, NULL) != 0))
		abort();
	if (hub_parse(text, a, b, NULL) == 0 && (strstr(a, "..") == a ||
	    strchr(b, '/') != NULL))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1);

	if (text == NULL)
		return 0;
	if (n > 0)
		memcpy(text, data, n);
	text[n] = '\0';
	check_manifest(text, n);
	check_hub(text, n, NULL);
	check_hub(text, n, "*.gguf");
	check_name(text);
	free(text);
	return 0;
}

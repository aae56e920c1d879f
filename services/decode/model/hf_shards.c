#include <stdlib.h>
#include <string.h>

#include "model/hf_files.h"
#include "model/hf_priv.h"

static int
add_shard(struct hf *h, const char *dir, const char *name, struct err *e)
{
	struct buf path = { 0 };
	int rc;

	/* A name of an index stays in its directory. */
	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
		return err_set(e, ERR_BAD_FILE,
		    "the index names a file '%.80s'", name);
	for (size_t i = 0; i < h->n_shards; i++)
		if (strcmp(h->names[i], name) == 0)
			return 0;
	if (h->n_shards == HF_SHARDS_MAX)
		return err_set(e, ERR_RANGE, "the index names more than %d "
		    "files", HF_SHARDS_MAX);
	buf_printf(&path, "%s/%s", dir, name);
	if (path.failed || (h->names[h->n_shards] = strdup(name)) == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "no memory for a path");
	else if ((rc = safetensors_open(path.data, &h->shards[h->n_shards],
	    e)) != 0) {
		free(h->names[h->n_shards]);
		h->names[h->n_shards] = NULL;
	} else
		h->n_shards++;
	buf_free(&path);
	return rc;
}

static const struct safetensors *
shard_named(const struct hf *h, const char *name)
{
	for (size_t i = 0; i < h->n_shards; i++)
		if (strcmp(h->names[i], name) == 0)
			return &h->shards[i];
	return NULL;
}

static int
open_index(struct hf *h, const char *dir, const json_t *index, struct err *e)
{
	json_t *map = json_object_get(index, "weight_map"), *v;
	const char *name;
	int rc;

	if (!json_is_object(map) || json_object_size(map) == 0)
		return err_set(e, ERR_BAD_FILE,
		    "model.safetensors.index.json: no weight_map");
	json_object_foreach(map, name, v) {
		const char *file = json_string_value(v);

		if (file == NULL)
			return err_set(e, ERR_BAD_FILE, "the index: '%.80s' is "
			    "not in a file", name);
		if ((rc = add_shard(h, dir, file, e)) != 0)
			return rc;
		if (safetensors_find(shard_named(h, file), name) == NULL)
			return err_set(e, ERR_BAD_FILE, "the index: '%.80s' is "
			    "not in '%.60s'", name, file);
	}
	return 0;
}

/* No tensor is in two files, and the index names all. */
static int
check_shards(const struct hf *h, const json_t *index, struct err *e)
{
	const json_t *map = json_object_get(index, "weight_map");

	for (size_t s = 0; s < h->n_shards; s++)
		for (size_t i = 0; i < h->shards[s].n; i++) {
			const char *name = h->shards[s].tensors[i].name;
			const char *in = json_string_value(json_object_get(map,
			    name));

			if (in == NULL)
				return err_set(e, ERR_BAD_FILE, "'%.50s' has a "
				    "tensor '%.80s' that the index does not "
				    "name", h->names[s], name);
			if (strcmp(in, h->names[s]) != 0)
				return err_set(e, ERR_BAD_FILE, "tensor "
				    "'%.80s' is in '%.50s' and in '%.50s'",
				    name, in, h->names[s]);
		}
	return 0;
}

int
hf_shards_open(struct hf *h, const char *dir, struct err *e)
{
	json_t *index;
	int rc;

	h->shards = calloc(HF_SHARDS_MAX, sizeof(*h->shards));
	h->names = calloc(HF_SHARDS_MAX, sizeof(*h->names));
	if (h->shards == NULL || h->names == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a checkpoint");
	rc = hf_files_json(dir, "model.safetensors.index.json", HF_INDEX_MAX,
	    &index, e);
	if (rc == ERR_NOT_FOUND)
		return add_shard(h, dir, "model.safetensors", e);
	if (rc != 0)
		return rc;
	if ((rc = open_index(h, dir, index, e)) == 0)
		rc = check_shards(h, index, e);
	json_decref(index);
	return rc;
}

void
hf_shards_close(struct hf *h)
{
	for (size_t i = 0; i < h->n_shards; i++) {
		safetensors_close(&h->shards[i]);
		free(h->names[i]);
	}
	free(h->shards);
	free(h->names);
}

void
hf_shards_drop(const struct hf *h)
{
	for (size_t i = 0; i < h->n_shards; i++)
		safetensors_drop(&h->shards[i]);
}

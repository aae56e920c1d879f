#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "download.h"
#include "hub.h"
#include "json.h"
#include "sha256.h"

enum { ANSWER_MAX = 4 << 20, LISTED_MAX = 120 };

/* What makes a checkpoint besides its weights; also what says how it may be
 * used. */
static const char *const parts[] = {
	"config.json", "generation_config.json", "tokenizer.json",
	"tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
	"chat_template.jinja", "model.safetensors.index.json", "LICENSE",
	"LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt", "USE_POLICY.md",
};

/* One segment of a path on the hub; returns where it ends, or NULL. */
static const char *
segment(const char *text, const char *ends)
{
	const char *p = text;

	while (isalnum((unsigned char)*p) || *p == '-' || *p == '_' ||
	    *p == '.')
		p++;
	if (p == text || text[0] == '.' || p - text > STORE_NAME_MAX ||
	    strchr(ends, *p) == NULL)
		return NULL;
	return p;
}

int
hub_parse(const char *text, char repository[STORE_NAME_MAX + 1],
    char revision[STORE_NAME_MAX + 1], struct err *e)
{
	const char *p = segment(text, "/"), *end = NULL;

	if (p != NULL && *p == '/')
		end = segment(p + 1, "@");
	if (end == NULL || end - text > STORE_NAME_MAX || (*end == '@' &&
	    ((p = segment(end + 1, "")) == NULL || *p != '\0')))
		return err_set(e, ERR_RANGE, "'HF:%.100s' is not "
		    "HF:OWNER/NAME or HF:OWNER/NAME@REVISION", text);
	snprintf(repository, STORE_NAME_MAX + 1, "%.*s", (int)(end - text),
	    text);
	snprintf(revision, STORE_NAME_MAX + 1, "%s", *end == '@' ? end + 1 :
	    "main");
	return 0;
}

int
hub_take_commit(const char *text, size_t n, struct manifest *m, struct err *e)
{
	const char *sha, *licence;
	json_t *o;
	int rc = json_guarded(text, n, &o, e);

	if (rc != 0)
		return rc;
	sha = json_string_value(json_object_get(o, "sha"));
	if (sha == NULL || strlen(sha) != 40 ||
	    strspn(sha, "0123456789abcdef") != 40)
		rc = err_set(e, ERR_BAD_MESSAGE, "the hub's answer names no "
		    "commit");
	else
		memcpy(m->revision, sha, 41);
	licence = json_string_value(json_object_get(json_object_get(o,
	    "cardData"), "license"));
	if (licence != NULL && strlen(licence) < 64)
		snprintf(m->licence, sizeof(m->licence), "%s", licence);
	for (char *p = m->licence; *p != '\0'; p++)
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
	json_decref(o);
	return rc;
}

static bool
ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n > k && strcmp(name + n - k, end) == 0;
}

enum want { WANT_NOT, WANT_PART, WANT_WEIGHTS, WANT_GGUF, WANT_NAMED };

/* What an entry of the tree is to us.  Only plain names are: a path with a
 * directory in it is none of ours. */
static enum want
classify(const struct hub_request *r, const json_t *entry)
{
	const char *path = json_string_value(json_object_get(entry, "path"));
	const char *type = json_string_value(json_object_get(entry, "type"));

	if (path == NULL || type == NULL || strcmp(type, "file") != 0 ||
	    store_check_name(path, NULL) != 0)
		return WANT_NOT;
	if (r->file != NULL)
		return fnmatch(r->file, path, 0) == 0 ? WANT_NAMED : WANT_NOT;
	if (ends_in(path, ".safetensors"))
		return WANT_WEIGHTS;
	if (ends_in(path, ".gguf"))
		return WANT_GGUF;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (strcmp(path, parts[i]) == 0)
			return WANT_PART;
	return WANT_NOT;
}

/* A file that is there twice would be written twice. */
static int
check_unique(const struct manifest *m, struct err *e)
{
	for (size_t i = 0; i < m->n_files; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(m->files[i].path, m->files[k].path) == 0)
				return err_set(e, ERR_BAD_MESSAGE, "the hub's "
				    "index has %.100s twice",
				    m->files[i].path);
	return 0;
}

static int
take_file(const struct hub_request *r, const json_t *entry,
    const struct manifest *m, struct manifest_file *f, struct err *e)
{
	const char *path = json_string_value(json_object_get(entry, "path"));
	const json_t *lfs = json_object_get(entry, "lfs");
	const char *sum = json_string_value(json_object_get(lfs, "oid"));
	uint8_t bytes[SHA256_SIZE];
	int n = snprintf(f->url, sizeof(f->url), "%s/%s/resolve/%s/%s", r->hub,
	    r->repository, m->revision, path);

	if (n < 0 || n >= (int)sizeof(f->url))
		return err_set(e, ERR_RANGE, "the URL of %.100s is too long",
		    path);
	snprintf(f->path, sizeof(f->path), "%s", path);
	if (json_integer_value(json_object_get(entry, "size")) > 0)
		f->size = json_integer_value(json_object_get(entry, "size"));
	if (sum != NULL && sha256_from_hex(sum, bytes))
		snprintf(f->expected, sizeof(f->expected), "%s", sum);
	return 0;
}

/* The sentence that names what could have been asked for. */
static int
refuse(const struct hub_request *r, const json_t *tree, struct err *e)
{
	char list[LISTED_MAX] = "";
	const json_t *entry;
	size_t i, at = 0;

	json_array_foreach(tree, i, entry) {
		const char *path = json_string_value(json_object_get(entry,
		    "path"));

		if (path != NULL && (ends_in(path, ".gguf") ||
		    ends_in(path, ".safetensors")) && at < sizeof(list))
			at += (size_t)snprintf(list + at, sizeof(list) - at,
			    "%s%.60s", at > 0 ? ", " : "", path);
	}
	return err_set(e, ERR_NOT_FOUND, "%.60s: %s; it has: %.120s",
	    r->repository, r->file != NULL ? "--file does not name one file" :
	    "neither a checkpoint nor a single .gguf, so say --file NAME",
	    at > 0 ? list : "no model");
}

int
hub_take_tree(const struct hub_request *r, const char *text, size_t n,
    struct manifest *m, struct err *e)
{
	size_t count[WANT_NAMED + 1] = { 0 }, i, k = 0;
	enum want last;
	json_t *tree, *entry;
	int rc = json_guarded(text, n, &tree, e);

	if (rc != 0)
		return rc;
	json_array_foreach(tree, i, entry)
		count[classify(r, entry)]++;
	m->directory = count[WANT_WEIGHTS] > 0;
	last = m->directory ? WANT_WEIGHTS : count[WANT_NAMED] > 0 ?
	    WANT_NAMED : WANT_GGUF;
	if (m->directory)
		m->n_files = count[WANT_PART] + count[WANT_WEIGHTS];
	else
		m->n_files = count[WANT_NAMED] + count[WANT_GGUF];
	if (!json_is_array(tree) || (!m->directory && m->n_files != 1) ||
	    m->n_files > MANIFEST_FILES_MAX) {
		rc = refuse(r, tree, e);
	} else {
		struct manifest sized;

		rc = manifest_init(&sized, m->n_files, e);
		m->files = sized.files;
	}
	json_array_foreach(tree, i, entry) {
		enum want w = classify(r, entry);

		if (rc == 0 && (w == last || (m->directory && w == WANT_PART)))
			rc = take_file(r, entry, m, &m->files[k++], e);
	}
	json_decref(tree);
	return rc == 0 ? check_unique(m, e) : rc;
}

int
hub_list(const struct hub_request *r, struct manifest *m, struct err *e)
{
	char url[MANIFEST_URL_MAX + 1];
	struct buf b = { 0 };
	int rc;

	*m = (struct manifest){ 0 };
	snprintf(url, sizeof(url), "%s/api/models/%s/revision/%s", r->hub,
	    r->repository, r->revision);
	if ((rc = download_text(url, ANSWER_MAX, r->stall_s, &b, e)) == 0)
		rc = hub_take_commit(b.data != NULL ? b.data : "", b.len, m, e);
	if (rc == 0) {
		snprintf(url, sizeof(url), "%s/api/models/%s/tree/%s", r->hub,
		    r->repository, m->revision);
		rc = download_text(url, ANSWER_MAX, r->stall_s, &b, e);
	}
	if (rc == 0)
		rc = hub_take_tree(r, b.data != NULL ? b.data : "", b.len, m,
		    e);
	buf_free(&b);
	if (rc != 0)
		manifest_finish(m);
	return rc;
}

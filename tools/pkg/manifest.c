#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "manifest.h"
#include "sha256.h"

int
manifest_init(struct manifest *m, size_t n, struct err *e)
{
	*m = (struct manifest){ .n_files = n };
	m->files = calloc(n > 0 ? n : 1, sizeof(*m->files));
	if (m->files == NULL)
		return err_set(e, ERR_NO_MEMORY, "no memory for a manifest");
	for (size_t i = 0; i < n; i++)
		m->files[i].size = -1;
	return 0;
}

void
manifest_finish(struct manifest *m)
{
	free(m->files);
	m->files = NULL;
	m->n_files = 0;
}

/* Member key of o into out [max + 1]; printable; absent or null is "". */
static int
text_of(const json_t *o, const char *key, char *out, size_t max,
    const char *what, struct err *e)
{
	const json_t *v = json_object_get(o, key);
	const char *text = "";
	size_t n = 0;

	if (v != NULL && !json_is_null(v)) {
		if (!json_is_string(v))
			return err_set(e, ERR_BAD_FILE, "%.120s: '%s' is no "
			    "string", what, key);
		text = json_string_value(v);
		n = json_string_length(v);
	}
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return err_set(e, ERR_BAD_FILE, "%.120s: '%s' has a "
			    "control character", what, key);
	if (n > max)
		return err_set(e, ERR_BAD_FILE, "%.120s: '%s' has %zu bytes, "
		    "more than %zu", what, key, n, max);
	memcpy(out, text, n);
	out[n] = '\0';
	return 0;
}

static int
sum_of(const json_t *o, const char *key, char *out, const char *what,
    struct err *e)
{
	uint8_t sum[SHA256_SIZE];
	int rc = text_of(o, key, out, MANIFEST_SHA_LEN, what, e);

	if (rc == 0 && out[0] != '\0' && !sha256_from_hex(out, sum))
		rc = err_set(e, ERR_BAD_FILE, "%.120s: '%s' is not 64 hex "
		    "digits", what, key);
	return rc;
}

static int
parse_file(const json_t *o, const char *what, struct manifest_file *f,
    struct err *e)
{
	const json_t *size = json_object_get(o, "size");
	struct err why;
	int rc;

	if (!json_is_object(o))
		return err_set(e, ERR_BAD_FILE, "%.120s: a file is no object",
		    what);
	if ((rc = text_of(o, "path", f->path, STORE_NAME_MAX, what, e)) != 0 ||
	    (rc = text_of(o, "url", f->url, MANIFEST_URL_MAX, what, e)) != 0 ||
	    (rc = text_of(o, "validator", f->validator, MANIFEST_TAG_MAX, what,
	    e)) != 0 || (rc = sum_of(o, "sha256", f->sha256, what, e)) != 0 ||
	    (rc = sum_of(o, "expected_sha256", f->expected, what, e)) != 0)
		return rc;
	if (store_check_name(f->path, &why) != 0)
		return err_set(e, ERR_BAD_FILE, "%.80s: %.140s", what,
		    why.text);
	f->size = -1;
	if (size == NULL || json_is_null(size))
		return 0;
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return err_set(e, ERR_BAD_FILE, "%.120s: 'size' of %.60s is no "
		    "number of bytes", what, f->path);
	f->size = json_integer_value(size);
	return 0;
}

static int
parse_files(const json_t *list, const char *what, struct manifest *m,
    struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->n_files; i++) {
		rc = parse_file(json_array_get(list, i), what, &m->files[i], e);
		for (size_t k = 0; rc == 0 && k < i; k++)
			if (strcmp(m->files[k].path, m->files[i].path) == 0)
				rc = err_set(e, ERR_BAD_FILE, "%.120s: %.80s "
				    "is there twice", what, m->files[i].path);
	}
	return rc;
}

static int
parse_object(const json_t *o, const char *what, struct manifest *m,
    struct err *e)
{
	const json_t *files = json_object_get(o, "files");
	const json_t *directory = json_object_get(o, "directory");
	size_t n = json_array_size(files);
	struct err why;
	int rc;

	if (json_integer_value(json_object_get(o, "manifest")) !=
	    MANIFEST_VERSION)
		return err_set(e, ERR_BAD_FILE, "%.120s: not a manifest of "
		    "version %d", what, MANIFEST_VERSION);
	if (n == 0 || n > MANIFEST_FILES_MAX || !json_is_boolean(directory) ||
	    (json_is_false(directory) && n != 1))
		return err_set(e, ERR_BAD_FILE, "%.120s: 'files' or 'directory'"
		    " is missing or wrong", what);
	if ((rc = manifest_init(m, n, e)) != 0)
		return rc;
	m->directory = json_is_true(directory);
	if ((rc = text_of(o, "name", m->name, STORE_NAME_MAX, what, e)) == 0 &&
	    (rc = text_of(o, "source", m->source, MANIFEST_URL_MAX, what,
	    e)) == 0 && (rc = text_of(o, "revision", m->revision,
	    MANIFEST_TEXT_MAX, what, e)) == 0 && (rc = text_of(o, "licence",
	    m->licence, MANIFEST_TEXT_MAX, what, e)) == 0 &&
	    (rc = text_of(o, "pulled", m->pulled, sizeof(m->pulled) - 1, what,
	    e)) == 0 && (rc = text_of(o, "verified", m->verified,
	    sizeof(m->verified) - 1, what, e)) == 0)
		rc = parse_files(files, what, m, e);
	if (rc == 0 && store_check_name(m->name, &why) != 0)
		rc = err_set(e, ERR_BAD_FILE, "%.80s: %.140s", what, why.text);
	if (rc != 0)
		manifest_finish(m);
	return rc;
}

int
manifest_parse(const char *text, size_t n, const char *what,
    struct manifest *m, struct err *e)
{
	struct err why;
	json_t *o;
	int rc;

	if (json_guarded(text, n, &o, &why) != 0)
		return err_set(e, ERR_BAD_FILE, "%.80s: %.140s", what,
		    why.text);
	rc = parse_object(o, what, m, e);
	json_decref(o);
	return rc;
}

static json_t *
text_json(const char *text)
{
	return text[0] != '\0' ? json_string(text) : json_null();
}

json_t *
manifest_json(const struct manifest *m)
{
	json_t *files = json_array();

	for (size_t i = 0; i < m->n_files; i++) {
		const struct manifest_file *f = &m->files[i];

		json_array_append_new(files, json_pack(
		    "{s:s,s:s,s:o,s:o,s:o,s:o}", "path", f->path,
		    "url", f->url, "size", f->size < 0 ? json_null() :
		    json_integer(f->size), "sha256", text_json(f->sha256),
		    "expected_sha256", text_json(f->expected),
		    "validator", text_json(f->validator)));
	}
	return json_pack("{s:i,s:s,s:b,s:s,s:o,s:o,s:o,s:o,s:o}",
	    "manifest", MANIFEST_VERSION, "name", m->name,
	    "directory", m->directory, "source", m->source,
	    "revision", text_json(m->revision),
	    "licence", text_json(m->licence), "pulled", text_json(m->pulled),
	    "verified", text_json(m->verified), "files", files);
}

int
manifest_load(const struct store *s, const char *file, struct manifest *m,
    struct err *e)
{
	int fd = openat(s->fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
	    O_NONBLOCK);
	char *text = malloc(MANIFEST_BYTES_MAX + 1);
	ssize_t n = 0, got = 1;
	int rc;

	if (text == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "no memory for a manifest");
	else if (fd < 0)
		rc = err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM,
		    "%.100s/%.100s: %s", s->path, file, strerror(errno));
	else {
		while (n <= MANIFEST_BYTES_MAX && (got = read(fd, text + n,
		    (size_t)(MANIFEST_BYTES_MAX + 1 - n))) > 0)
			n += got;
		if (got < 0)
			rc = err_set(e, ERR_SYSTEM, "%.100s/%.100s: %s",
			    s->path, file, strerror(errno));
		else if (n > MANIFEST_BYTES_MAX)
			rc = err_set(e, ERR_BAD_FILE, "%.150s: more than %d "
			    "bytes", file, MANIFEST_BYTES_MAX);
		else
			rc = manifest_parse(text, (size_t)n, file, m, e);
	}
	if (fd >= 0)
		close(fd);
	free(text);
	return rc;
}

static bool
write_json(int fd, const json_t *o)
{
	return json_dumpfd(o, fd, JSON_INDENT(2)) == 0 &&
	    write(fd, "\n", 1) == 1 && fsync(fd) == 0;
}

int
manifest_save(const struct store *s, const char *file,
    const struct manifest *m, struct err *e)
{
	char new[STORE_PATH_MAX];
	json_t *o = manifest_json(m);
	int fd, rc = 0;

	if (o == NULL)
		return err_set(e, ERR_BAD_FILE, "%.150s: a text is not UTF-8",
		    file);
	store_beside(file, ".new", new);
	fd = openat(s->fd, new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC |
	    O_NOFOLLOW, 0644);
	if (fd < 0 || !write_json(fd, o) ||
	    renameat(s->fd, new, s->fd, file) != 0) {
		rc = err_set(e, ERR_SYSTEM, "%.100s/%.100s: %s", s->path, file,
		    strerror(errno));
		if (fd >= 0)
			unlinkat(s->fd, new, 0);
	}
	if (fd >= 0)
		close(fd);
	json_decref(o);
	return rc;
}

void
manifest_now(char out[32])
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

bool
manifest_pinned(const struct manifest *m)
{
	for (size_t i = 0; i < m->n_files; i++)
		if (m->files[i].expected[0] == '\0')
			return false;
	return true;
}

int64_t
manifest_size(const struct manifest *m)
{
	int64_t sum = 0;

	for (size_t i = 0; i < m->n_files; i++) {
		if (m->files[i].size < 0 ||
		    sum > INT64_MAX - m->files[i].size)
			return -1;
		sum += m->files[i].size;
	}
	return sum;
}

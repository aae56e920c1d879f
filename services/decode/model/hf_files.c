#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "model/hf_files.h"

static int
read_fd(int fd, const char *path, size_t max, struct buf *out, struct err *e)
{
	char chunk[4096];
	struct stat st;
	ssize_t k;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_FILE, "%.180s: not a regular file",
		    path);
	while ((k = read(fd, chunk, sizeof(chunk))) > 0) {
		if (out->len + (size_t)k > max)
			return err_set(e, ERR_RANGE,
			    "%.180s: more than %zu bytes", path, max);
		buf_add(out, chunk, (size_t)k);
	}
	if (k < 0)
		return err_set(e, ERR_SYSTEM, "%.180s: %s", path,
		    strerror(errno));
	if (out->failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for %.180s", path);
	return 0;
}

int
hf_files_read(const char *dir, const char *name, size_t max, struct buf *out,
    struct err *e)
{
	struct buf path = { 0 };
	int fd, rc;

	buf_printf(&path, "%s/%s", dir, name);
	if (path.failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for a path");
	fd = open(path.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		rc = err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM,
		    "%.180s: %s", path.data, strerror(errno));
	else {
		rc = read_fd(fd, path.data, max, out, e);
		close(fd);
	}
	buf_free(&path);
	return rc;
}

int
hf_files_json(const char *dir, const char *name, size_t max, json_t **v,
    struct err *e)
{
	struct buf text = { 0 };
	struct err why;
	json_error_t je;
	int rc;

	if ((rc = hf_files_read(dir, name, max, &text, e)) != 0) {
		buf_free(&text);
		return rc;
	}
	/* Files of 2^20 values are real: an index has one a tensor. */
	if (json_scan(text.data != NULL ? text.data : "", text.len,
	    JSON_DEPTH_MAX, 1 << 20, &why) != 0)
		rc = err_set(e, ERR_BAD_FILE, "%s: %.180s", name, why.text);
	else if ((*v = json_loadb(text.data != NULL ? text.data : "", text.len,
	    JSON_REJECT_DUPLICATES, &je)) == NULL)
		rc = err_set(e, ERR_BAD_FILE, "%s: %.150s at byte %d", name,
		    je.text, je.position);
	buf_free(&text);
	return rc;
}

int
hf_files_template(const json_t *tokenizer_config, struct buf *out,
    struct err *e)
{
	const json_t *v = json_object_get(tokenizer_config, "chat_template");
	const char *text = json_string_value(v);

	for (size_t i = 0; text == NULL && i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i);
		const char *name = json_string_value(json_object_get(one,
		    "name"));

		if (name != NULL && strcmp(name, "default") == 0)
			text = json_string_value(json_object_get(one,
			    "template"));
	}
	if (text == NULL && v != NULL && !json_is_null(v))
		return err_set(e, ERR_BAD_FILE, "tokenizer_config.json: "
		    "chat_template is neither text nor a list with 'default'");
	if (text != NULL)
		buf_adds(out, text);
	if (out->failed)
		return err_set(e, ERR_NO_MEMORY, "no memory for a template");
	return 0;
}

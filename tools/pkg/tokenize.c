#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "model/hf_files.h"
#include "model/model_guard.h"
#include "pkg.h"
#include "tokenizer/textstream.h"
#include "tokenizer/tokenizer.h"

struct job {
	struct tokenizer *t;
	bool parse_special;
	bool skip_blank;	/* one that encoding put before the text */
	struct ids ids;
	struct buf text;
	struct err e;
};

/*
 * One line of --jsonl; *v is a new reference to the member called key.  Not
 * json_guarded: a text may hold NUL and a line 50,000 ids, and who runs this
 * wrote the line.
 */
static int
parse_line(const char *line, size_t n, const char *key, json_t **v,
    struct err *e)
{
	json_error_t at;
	json_t *member, *o = json_loadb(line, n, JSON_ALLOW_NUL |
	    JSON_REJECT_DUPLICATES, &at);
	int rc = 0;

	if (o == NULL)
		return err_set(e, ERR_BAD_MESSAGE, "%.150s at byte %d",
		    at.text, at.position);
	member = json_object_get(o, key);
	if (member == NULL)
		rc = err_set(e, ERR_BAD_MESSAGE, "'%s' is missing", key);
	else
		*v = json_incref(member);
	json_decref(o);
	return rc;
}

static int
tokenize_line(struct job *j, const char *line, size_t n)
{
	json_t *v, *list;
	int rc;

	if ((rc = parse_line(line, n, "text", &v, &j->e)) != 0)
		return rc;
	j->ids.n = 0;
	rc = !json_is_string(v) ?
	    err_set(&j->e, ERR_BAD_MESSAGE, "'text' is not a string") :
	    tokenizer_encode(j->t, json_string_value(v), json_string_length(v),
	        j->parse_special, &j->ids, &j->e);
	json_decref(v);
	if (rc != 0)
		return rc;
	list = json_array();
	for (size_t i = 0; i < j->ids.n; i++)
		json_array_append_new(list, json_integer(j->ids.v[i]));
	list = json_pack("{s:o}", "ids", list);
	json_dumpf(list, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(list);
	return 0;
}

static int
add_token(struct job *j, int64_t id, struct textstream *ts)
{
	const char *bytes = NULL;
	size_t n;

	if (id >= 0 && id < tokenizer_n_vocab(j->t))
		bytes = tokenizer_bytes(j->t, (int32_t)id, &n);
	if (bytes == NULL)
		return err_set(&j->e, ERR_RANGE, "%" PRId64 " is no token", id);
	if (ts != NULL) {
		textstream_push(ts, bytes, n, &j->text);
		return 0;
	}
	if (n == 0)
		return 0;
	if (j->skip_blank && bytes[0] == ' ') {
		bytes++;
		n--;
	}
	j->skip_blank = false;
	fwrite(bytes, 1, n, stdout);
	return 0;
}

static int
detokenize_line(struct job *j, const char *line, size_t n)
{
	struct textstream ts;
	const char *text = "";
	size_t n_text;
	json_t *v, *o;
	int rc;

	if ((rc = parse_line(line, n, "ids", &v, &j->e)) != 0)
		return rc;
	if (!json_is_array(v))
		rc = err_set(&j->e, ERR_BAD_MESSAGE, "'ids' is not an array");
	buf_clear(&j->text);
	textstream_init(&ts, NULL, 0);
	for (size_t i = 0; rc == 0 && i < json_array_size(v); i++) {
		const json_t *id = json_array_get(v, i);

		rc = add_token(j, json_is_integer(id) ?
		    (int64_t)json_integer_value(id) : -1, &ts);
	}
	textstream_flush(&ts, &j->text);
	textstream_finish(&ts);
	json_decref(v);
	if (rc == 0 && j->text.failed)
		rc = err_set(&j->e, ERR_NO_MEMORY, "no memory for a text");
	if (rc != 0)
		return rc;
	if ((n_text = j->text.len) > 0)
		text = j->text.data;
	if (tokenizer_adds_blank(j->t) && *text == ' ') {
		text++;
		n_text--;
	}
	o = json_pack("{s:s%}", "text", text, n_text);
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
	return 0;
}

/* All of standard input as one text. */
static int
tokenize_all(struct job *j)
{
	char chunk[4096];
	size_t k;
	int rc;

	while ((k = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
		buf_add(&j->text, chunk, k);
	if (ferror(stdin))
		return err_set(&j->e, ERR_SYSTEM, "standard input: %s",
		    strerror(errno));
	if (j->text.failed)
		return err_set(&j->e, ERR_NO_MEMORY, "no memory for a text");
	rc = tokenizer_encode(j->t, j->text.data != NULL ? j->text.data : "",
	    j->text.len, j->parse_special, &j->ids, &j->e);
	for (size_t i = 0; rc == 0 && i < j->ids.n; i++)
		printf("%" PRId32 "\n", j->ids.v[i]);
	return rc;
}

static int
detokenize_all(struct job *j)
{
	char word[32];
	int rc = 0;

	j->skip_blank = tokenizer_adds_blank(j->t);

	while (rc == 0 && scanf("%31s", word) == 1) {
		char *end;
		long long id;

		errno = 0;
		id = strtoll(word, &end, 10);
		rc = *end != '\0' || errno != 0 ?
		    err_set(&j->e, ERR_RANGE, "'%s' is no token", word) :
		    add_token(j, id, NULL);
	}
	return rc;
}

/* Go on after a line that was refused, and say so at the end. */
static int
every_line(struct job *j, int (*one)(struct job *j, const char *line, size_t n))
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int status = PKG_OK;

	for (size_t k = 1; (n = getline(&line, &cap, stdin)) >= 0; k++)
		if (strspn(line, " \t\r\n") < (size_t)n &&
		    one(j, line, (size_t)n) != 0) {
			fprintf(stderr, "1bit-halo-pkg: line %zu: %s\n", k,
			    j->e.text);
			status = PKG_BAD;
		}
	if (ferror(stdin)) {
		err_set(&j->e, ERR_SYSTEM, "standard input: %s",
		    strerror(errno));
		status = pkg_fail(&j->e);
	}
	free(line);
	return status;
}

static int
run(int argc, char *argv[], bool reverse)
{
	struct job j = { 0 };
	const char *file = NULL, *pattern = NULL;
	bool jsonl = false;
	int status = PKG_OK;
	const struct pkg_option both[] = {
		{ "--tokenizer", &file, NULL }, { "--pattern", &pattern, NULL },
		{ "--jsonl", NULL, &jsonl },
		{ reverse ? NULL : "--parse-special", NULL, &j.parse_special },
		{ 0 },
	};

	if (pkg_options(argc, argv, both, NULL, 0, &j.e) != 0)
		return pkg_fail(&j.e);
	if (file == NULL) {
		err_set(&j.e, ERR_RANGE, "--tokenizer is missing");
		return pkg_fail(&j.e);
	}
	model_guard_open("1bit-halo-pkg", file, PKG_UNUSABLE);
	if (tokenizer_open(file, pattern, &j.t, &j.e) != 0)
		return pkg_fail(&j.e);
	if (jsonl)
		status = every_line(&j, reverse ? detokenize_line :
		    tokenize_line);
	else if ((reverse ? detokenize_all(&j) : tokenize_all(&j)) != 0) {
		pkg_fail(&j.e);
		status = PKG_BAD;
	}
	tokenizer_destroy(j.t);
	ids_free(&j.ids);
	buf_free(&j.text);
	return status;
}

int
pkg_tokenize(int argc, char *argv[])
{
	return run(argc, argv, false);
}

int
pkg_detokenize(int argc, char *argv[])
{
	return run(argc, argv, true);
}

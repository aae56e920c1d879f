/*
 * Every source is read into a JSON object of its own; they are laid over each
 * other, and the table that checks a message (field.h) checks the result.  What
 * a value comes from is kept beside it, for the sentence when it is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "conf_help.h"
#include "log.h"

enum { WHERE_MAX = 128 };

struct load {
	const struct conf_program *p;
	const struct field *fields;
	json_t *source;		/* of the source that is being read */
	json_t *values;		/* of all sources before; the caller's */
	json_t *from;		/* name: where its value comes from */
	const char *file;	/* of --config, or NULL */
};

/* The member that name, written with '-' or '_', means; or NULL. */
static const struct field *
find(const struct field *fields, const char *name, size_t n)
{
	const struct field *f;
	size_t i;

	for (f = fields; f->name != NULL; f++) {
		for (i = 0; i < n && f->name[i] != '\0'; i++)
			if (f->name[i] != (name[i] == '-' ? '_' : name[i]))
				break;
		if (i == n && f->name[n] == '\0')
			return f;
	}
	return NULL;
}

static bool
is_one_of(const char *text, const char *const words[])
{
	for (; *words != NULL; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

static json_t *
parse_bool(const char *text)
{
	static const char *const yes[] = { "true", "yes", "on", "1", NULL };
	static const char *const no[] = { "false", "no", "off", "0", NULL };

	if (is_one_of(text, yes))
		return json_true();
	return is_one_of(text, no) ? json_false() : NULL;
}

/* text as a JSON number, or NULL. */
static json_t *
parse_number(const char *text)
{
	json_t *v;

	if (strspn(text, "+-.0123456789eE") != strlen(text))
		return NULL;
	v = json_loads(text, JSON_DECODE_ANY, NULL);
	if (json_is_number(v))
		return v;
	json_decref(v);
	return NULL;
}

/* text as f wants it, a new reference; NULL and a sentence if it is not so. */
static json_t *
parse_value(const struct field *f, const char *text, const char *where,
    struct err *e)
{
	const char *wanted = "UTF-8";
	json_t *v = NULL;

	switch (f->kind) {
	case FIELD_STR:
		v = json_string(text);
		break;
	case FIELD_INT:
		wanted = "an integer";
		v = parse_number(text);
		if (v != NULL && !json_is_integer(v)) {
			json_decref(v);
			v = NULL;
		}
		break;
	case FIELD_REAL:
		wanted = "a number";
		v = parse_number(text);
		break;
	case FIELD_BOOL:
		wanted = "true or false";
		v = parse_bool(text);
		break;
	case FIELD_JSON:
		if ((v = parse_number(text)) == NULL)
			v = json_string(text);
		break;
	}
	if (v == NULL)
		err_set_param(e, ERR_BAD_MESSAGE, f->name,
		    "%s: '%.60s' is not %s", where, text, wanted);
	return v;
}

/* One value of f, from where. */
static int
put(struct load *l, const struct field *f, const char *text, const char *where,
    struct err *e)
{
	json_t *v = parse_value(f, text, where, e), *list;
	int r;

	if (v == NULL)
		return ERR_BAD_MESSAGE;
	if (f->kind == FIELD_JSON) {
		if ((list = json_object_get(l->source, f->name)) == NULL) {
			list = json_array();
			json_object_set_new(l->source, f->name, list);
		}
		r = json_array_append_new(list, v);
	} else {
		r = json_object_set_new(l->source, f->name, v);
	}
	if (r != 0)
		return err_set(e, ERR_NO_MEMORY, "%s: no memory", where);
	json_object_set_new(l->from, f->name, json_string(where));
	return 0;
}

/* Cut the comment and the blanks at both ends; what is left. */
static char *
trim_line(char *line)
{
	char *end;

	for (char *p = line; *p != '\0'; p++)
		if (*p == '#' && (p == line || p[-1] == ' ' || p[-1] == '\t')) {
			*p = '\0';
			break;
		}
	line += strspn(line, " \t");
	for (end = line + strlen(line); end > line &&
	    strchr(" \t\r\n", end[-1]) != NULL; end--)
		end[-1] = '\0';
	return line;
}

static int
read_line(struct load *l, char *line, const char *where, struct err *e)
{
	const struct field *f;
	size_t n;

	line = trim_line(line);
	if (*line == '\0')
		return 0;
	n = strcspn(line, " \t");
	if ((f = find(l->fields, line, n)) == NULL)
		return err_set(e, ERR_BAD_MESSAGE, "%s: '%.*s' is no option: "
		    "see --help", where, n < 64 ? (int)n : 64, line);
	if (f->kind != FIELD_JSON && json_object_get(l->source, f->name) != NULL)
		return err_set_param(e, ERR_BAD_MESSAGE, f->name,
		    "%s: '%s' again", where, f->name);
	/* Text may be empty; -n prints such a line. */
	if (line[n] == '\0' && f->kind != FIELD_STR)
		return err_set_param(e, ERR_BAD_MESSAGE, f->name,
		    "%s: no value for '%s'", where, f->name);
	line += n;
	return put(l, f, line + strspn(line, " \t"), where, e);
}

static int
read_file(struct load *l, struct err *e)
{
	FILE *fp = fopen(l->file, "re");
	char *line = NULL, where[WHERE_MAX];
	size_t cap = 0;
	ssize_t len;
	int r = 0;

	if (fp == NULL)
		return err_set(e, ERR_SYSTEM, "%.128s: %s", l->file,
		    strerror(errno));
	for (int n = 1; r == 0 && (len = getline(&line, &cap, fp)) != -1; n++) {
		snprintf(where, sizeof(where), "%.100s:%d", l->file, n);
		if (strlen(line) != (size_t)len)
			r = err_set(e, ERR_BAD_MESSAGE, "%s: a NUL", where);
		else
			r = read_line(l, line, where, e);
	}
	if (r == 0 && ferror(fp))	/* a directory, for one */
		r = err_set(e, ERR_SYSTEM, "%.128s: %s", l->file,
		    strerror(errno));
	free(line);
	fclose(fp);
	return r;
}

/* A list in the environment: its values with commas between. */
static int
read_list(struct load *l, const struct field *f, const char *text,
    const char *where, struct err *e)
{
	char *copy = strdup(text), *rest = copy, *one;
	int r = 0;

	if (copy == NULL)
		return err_set(e, ERR_NO_MEMORY, "%s: no memory", where);
	while (r == 0 && (one = strsep(&rest, ",")) != NULL)
		if (*one != '\0')
			r = put(l, f, one, where, e);
	free(copy);
	return r;
}

static int
read_environment(struct load *l, struct err *e)
{
	const struct field *f;
	const char *text;
	char name[WHERE_MAX];
	int r = 0;

	for (f = l->fields; r == 0 && f->name != NULL; f++) {
		conf_env_name(l->p, f->name, name, sizeof(name));
		if ((text = getenv(name)) == NULL)
			continue;
		if (f->kind == FIELD_STR)
			r = put(l, f, text, name, e);
		else if (f->kind == FIELD_JSON)
			r = read_list(l, f, text, name, e);
		else if (*text != '\0')	/* NAME= in a unit: not set */
			r = put(l, f, text, name, e);
	}
	return r;
}

/* The option arg, its value in next if not in arg.  *used counts both. */
static int
read_option(struct load *l, const char *arg, const char *next, int *used,
    struct err *e)
{
	const char *v = strchr(arg, '=');
	size_t n = v != NULL ? (size_t)(v - arg) : strlen(arg);
	const struct field *f = NULL;
	char where[WHERE_MAX];

	if (strncmp(arg, "--", 2) == 0)
		f = find(l->fields, arg + 2, n - 2);
	snprintf(where, sizeof(where), "%.*s", n < 64 ? (int)n : 64, arg);
	*used = 1;
	if (v != NULL) {
		v++;
	} else if (f != NULL && f->kind == FIELD_BOOL && (next == NULL ||
	    (strcmp(next, "true") != 0 && strcmp(next, "false") != 0))) {
		v = "true";
	} else if (next != NULL && strncmp(next, "--", 2) != 0) {
		v = next;
		*used = 2;
	}
	if (strcmp(where, "--config") == 0 && v != NULL) {
		l->file = v;
		return 0;
	}
	if (f == NULL && strcmp(where, "--config") != 0)
		return err_set(e, ERR_BAD_MESSAGE, "%s: no such option: see "
		    "--help", where);
	if (v == NULL)
		return err_set(e, ERR_BAD_MESSAGE, "%s: no value: see --help",
		    where);
	return put(l, f, v, where, e);
}

static int
read_arguments(struct load *l, int argc, char *argv[], bool *dry,
    enum conf_action *action, struct err *e)
{
	int used, r = 0;

	for (int i = 1; i < argc && r == 0; i += used) {
		used = 1;
		if (strcmp(argv[i], "--help") == 0 ||
		    strcmp(argv[i], "-h") == 0) {
			conf_help(l->p, l->fields, stdout);
			*action = CONF_EXIT;
			return 0;
		}
		if (strcmp(argv[i], "--version") == 0) {
			printf("%s %s\n", l->p->name, ONEBIT_VERSION);
			*action = CONF_EXIT;
			return 0;
		}
		if (strcmp(argv[i], "-n") == 0)
			*dry = true;
		/* `claude mcp add NAME PROGRAM -- --server URL` may leave it in. */
		else if (strcmp(argv[i], "--") == 0)
			continue;
		else
			r = read_option(l, argv[i],
			    i + 1 < argc ? argv[i + 1] : NULL, &used, e);
	}
	return r;
}

/* Lay what the source has over what is there, and start another. */
static void
end_source(struct load *l)
{
	json_object_update(l->values, l->source);
	json_object_clear(l->source);
}

/* Put where the refused value comes from before its sentence. */
static void
say_where(const struct load *l, struct err *e)
{
	const char *where =
	    json_string_value(json_object_get(l->from, e->param));
	struct err old = *e;

	if (where != NULL)
		err_set_param(e, old.code, old.param, "%s: %s", where,
		    old.text);
	else if (*old.param != '\0')	/* missing, so nobody gave it */
		err_set_param(e, old.code, old.param, "--%s: %s: see --help",
		    old.param, old.text);
}

int
conf_load(const struct conf_program *p, const struct field *fields,
    size_t size, int argc, char *argv[], json_t *obj, void *out,
    enum conf_action *action, struct err *e)
{
	struct load l = { .p = p, .fields = fields, .values = obj,
	    .source = json_object(), .from = json_object() };
	char name[WHERE_MAX];
	struct err sink;
	bool dry = false;
	int r;

	e = e != NULL ? e : &sink;
	*action = CONF_RUN;
	conf_env_name(p, "config", name, sizeof(name));
	if ((l.file = getenv(name)) != NULL && *l.file == '\0')
		l.file = NULL;
	/* The arguments are read twice: first for the file they name. */
	r = read_arguments(&l, argc, argv, &dry, action, e);
	json_object_clear(l.source);
	if (r != 0 || *action == CONF_EXIT)
		goto out;
	if (l.file != NULL && (r = read_file(&l, e)) != 0)
		goto out;
	end_source(&l);
	if ((r = read_environment(&l, e)) != 0)
		goto out;
	end_source(&l);
	if ((r = read_arguments(&l, argc, argv, &dry, action, e)) != 0)
		goto out;
	end_source(&l);
	if ((r = field_decode(fields, size, obj, out, e)) != 0 ||
	    (p->check != NULL && (r = p->check(out, e)) != 0)) {
		say_where(&l, e);
	} else if (dry) {
		conf_print(fields, obj, stdout);
		*action = CONF_EXIT;
	}
out:
	json_decref(l.source);
	json_decref(l.from);
	return r;
}

void
conf_standard_fds(void)
{
	static const int modes[] = { O_WRONLY, O_RDONLY, O_WRONLY };

	/* The lowest free number is taken, and those below are not free. */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", modes[fd]) != fd)
			exit(1);
}

void
conf_main(const struct conf_program *p, const struct field *fields,
    size_t size, int argc, char *argv[], void *out)
{
	/* What *out points into; `used`, or the store would be left out and the
	 * leak sanitizer could not see it. */
	static json_t *kept __attribute__((used));
	enum conf_action action;
	struct err e;

	conf_standard_fds();
	kept = json_object();
	if (conf_load(p, fields, size, argc, argv, kept, out, &action,
	    &e) != 0) {
		log_usage(p->name, e.text);
		exit(2);
	}
	if (action == CONF_EXIT)
		exit(fflush(stdout) == 0 ? 0 : 1);
}

const char *
conf_runtime_dir(const char *given)
{
	static const char installed[] = "/run/1bit-halo";
	static char first[256];
	const char *env = getenv("RUNTIME_DIRECTORY");
	const char *own = getenv("XDG_RUNTIME_DIR");

	if (given != NULL && *given != '\0')
		return given;
	if (env == NULL || *env == '\0') {
		if (own == NULL || *own != '/' || geteuid() == 0 ||
		    access(installed, F_OK) == 0)
			return installed;
		snprintf(first, sizeof(first), "%s/1bit-halo", own);
		return first;
	}
	/* systemd gives all of them, with colons between; the first is ours. */
	snprintf(first, sizeof(first), "%.*s", (int)strcspn(env, ":"), env);
	return first;
}

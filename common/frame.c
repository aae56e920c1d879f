#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "frame.h"
#include "json.h"

enum {
	FRAME_HEAD = 8,			/* bytes of type and n */
	/* Token ids of the longest prompt; from a peer of the same group. */
	FRAME_VALUES_MAX = (1 << 20) + 4096,
};

static uint32_t
get_u32(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return ntohl(v);
}

static void
put_u32(char *p, uint32_t v)
{
	v = htonl(v);
	memcpy(p, &v, sizeof(v));
}

int
frame_open(const void *bytes, size_t n, struct frame *f, struct err *e)
{
	const char *p = bytes;
	uint32_t n_json;

	if (n < FRAME_HEAD || (n_json = get_u32(p + 4)) > n - FRAME_HEAD)
		return err_set(e, ERR_BAD_MESSAGE, "the frame is cut short");
	*f = (struct frame){
		.type = get_u32(p),
		.json = p + FRAME_HEAD,
		.n_json = n_json,
		.bulk = p + FRAME_HEAD + n_json,
		.n_bulk = n - FRAME_HEAD - n_json,
	};
	return 0;
}

int
frame_load(struct frame *f, struct err *e)
{
	json_error_t at;
	json_t *obj;
	int r;

	if ((r = json_scan(f->json, f->n_json, JSON_DEPTH_MAX,
	    FRAME_VALUES_MAX, e)) != 0)
		return r;
	obj = json_loadb(f->json, f->n_json, JSON_REJECT_DUPLICATES, &at);
	if (obj == NULL)
		return err_set(e, json_error_code(&at) ==
		    json_error_out_of_memory ? ERR_NO_MEMORY : ERR_BAD_MESSAGE,
		    "JSON: %s at byte %d", at.text, at.position);
	if (!json_is_object(obj)) {
		json_decref(obj);
		return err_set(e, ERR_BAD_MESSAGE, "the JSON is no object");
	}
	f->obj = obj;
	f->json = NULL;
	f->n_json = 0;
	return 0;
}

int
frame_parse(const void *bytes, size_t n, struct frame *f, struct err *e)
{
	struct frame open;
	int r;

	if ((r = frame_open(bytes, n, &open, e)) == 0 &&
	    (r = frame_load(&open, e)) == 0)
		*f = open;
	return r;
}

static int
add_dump(const char *text, size_t n, void *arg)
{
	struct buf *b = arg;

	buf_add(b, text, n);
	return b->failed ? -1 : 0;
}

int
frame_write(const struct frame *f, struct buf *b, struct err *e)
{
	size_t start = b->len, n_json;
	char head[FRAME_HEAD] = { 0 };

	if (!json_is_object(f->obj))
		return err_set(e, ERR_BAD_MESSAGE, "a frame without an object");
	buf_add(b, head, sizeof(head));
	if (b->failed || json_dump_callback(f->obj, add_dump, b,
	    JSON_COMPACT) != 0)
		goto fail;
	n_json = b->len - start - FRAME_HEAD;
	buf_add(b, f->bulk, f->n_bulk);
	if (b->failed || n_json > UINT32_MAX)
		goto fail;
	put_u32(b->data + start, f->type);
	put_u32(b->data + start + 4, (uint32_t)n_json);
	return 0;
fail:
	if (b->data != NULL) {
		b->len = start;
		b->data[start] = '\0';
	}
	return err_set(e, ERR_NO_MEMORY, "no memory for a message");
}

/* text, or what is left when it is no UTF-8. */
static json_t *
string_or(const char *text, const char *otherwise)
{
	json_t *s = json_string(text);

	return s != NULL ? s : json_string(otherwise);
}

void
frame_set_error(struct frame *f, const struct err *e)
{
	*f = (struct frame){ .type = FRAME_ERROR };
	f->obj = json_pack("{s:i, s:o, s:o, s:I, s:I, s:I}",
	    "code", (int)e->code,
	    "text", string_or(e->text, "?"),
	    "param", string_or(e->param, ""),
	    "retry_after_ms", (json_int_t)e->retry_after_ms,
	    "n_prompt_tokens", (json_int_t)e->n_prompt_tokens,
	    "n_ctx", (json_int_t)e->n_ctx);
}

int
frame_get_error(const struct frame *f, struct err *e)
{
	const json_t *obj = f->obj;
	const json_t *code = json_object_get(obj, "code");
	const char *text = json_string_value(json_object_get(obj, "text"));
	const char *param = json_string_value(json_object_get(obj, "param"));
	json_int_t c = json_integer_value(code);

	if (f->type != FRAME_ERROR || c >= 0 || c < -4096 || text == NULL)
		return err_set(e, ERR_BAD_MESSAGE, "not an error frame");
	err_set_param(e, (enum err_code)c, param != NULL ? param : "", "%s",
	    text);
	if (e == NULL)
		return (int)c;
	e->retry_after_ms =
	    json_integer_value(json_object_get(obj, "retry_after_ms"));
	e->n_prompt_tokens =
	    json_integer_value(json_object_get(obj, "n_prompt_tokens"));
	e->n_ctx = json_integer_value(json_object_get(obj, "n_ctx"));
	return (int)c;
}

void
frame_free(struct frame *f)
{
	json_decref(f->obj);
	free(f->bytes);
	*f = (struct frame){ 0 };
}

/* frame_parse: what is accepted can be written and parsed again, the same. */
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "decode.h"
#include "frame.h"
#include "unit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
decode_body(struct frame *f)
{
	struct decode_generate g;
	struct decode_replayed p;
	struct unit_health_is h;
	json_t *copy;

	copy = json_copy(f->obj);
	if (field_decode(decode_generate_fields(), sizeof(g), copy, &g,
	    NULL) == 0)
		json_decref(field_encode(decode_generate_fields(), &g));
	json_decref(copy);
	copy = json_copy(f->obj);
	field_decode(decode_replayed_fields(), sizeof(p), copy, &p, NULL);
	json_decref(copy);
	copy = json_copy(f->obj);
	field_decode(unit_health_is_fields(), sizeof(h), copy, &h, NULL);
	json_decref(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct frame f = { 0 }, again = { 0 };
	struct buf b = { 0 };
	struct err e;

	if (frame_parse(data, n, &f, &e) != 0)
		return 0;
	frame_get_error(&f, &e);
	if (frame_write(&f, &b, &e) != 0 ||
	    frame_parse(b.data, b.len, &again, &e) != 0 ||
	    again.type != f.type || again.n_bulk != f.n_bulk ||
	    (f.n_bulk > 0 && memcmp(again.bulk, f.bulk, f.n_bulk) != 0))
		abort();
	decode_body(&f);
	frame_free(&f);
	frame_free(&again);
	buf_free(&b);
	return 0;
}

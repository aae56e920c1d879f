/*
 * proto_doc -- print every message of proto/ as Markdown, from the lists that
 * also make the structs, so that the reference cannot be out of date.
 */
#include <stdio.h>

#include "bus.h"
#include "decode.h"
#include "unit.h"

/* A table of its own: a message without members has no struct. */
#define ROW(kind, name, min, max, dflt, unit, doc) \
	{ #name, FIELD_##kind, 0, min, max, dflt, unit, doc },
#define PRINT_TABLE(LIST)                                               \
	do {                                                            \
		static const struct field fields[] = { LIST(ROW) { 0 } }; \
		print_members(fields);                                  \
	} while (0)

static void
print_members(const struct field *fields)
{
	if (fields->name == NULL)
		printf("No members.\n");
	else
		field_print(fields, stdout);
}

static void
print_intro(void)
{
	printf("# Messages between the daemons\n\n"
	    "Made by `make doc` from the lists in `proto/` and `common/err.h`; "
	    "do not edit.\n\n"
	    "The daemons talk over Unix sockets in the runtime directory "
	    "(`/run/1bit-halo`), with the protocols REQ/REP and PUB/SUB of "
	    "NNG. One message is one frame, at most %d bytes:\n\n"
	    "| part | content |\n|---|---|\n"
	    "| `u32` type | number of the message below, big-endian |\n"
	    "| `u32` n | length of the JSON in bytes, big-endian |\n"
	    "| n bytes | one JSON object with the members below |\n"
	    "| the rest | bulk bytes, if the message says so |\n\n",
	    BUS_MESSAGE_MAX);
	printf("Rules for members: an unknown name is an error, so is a "
	    "missing one that is required; `null` is as good as absent; limits "
	    "are of the value for numbers, of the bytes for strings, of the "
	    "elements for arrays and objects.\n\n"
	    "Two numbers belong to the bus itself: %d, an error (see "
	    "[Errors](#errors)), and %d, a ping with the object `{}`, which "
	    "every REP socket answers with the same and every subscriber "
	    "ignores.\n", FRAME_ERROR, FRAME_PING);
}

static void
print_unit(void)
{
	printf("\n## Every unit\n\nWhat every daemon answers on its REP socket:"
	    " `decode.sock`, `gateway.sock`, ...\n");
#define M(number, name, LIST, doc)                          \
	printf("\n### %d `%s`\n\n%s\n\n", number, #name, doc); \
	PRINT_TABLE(LIST);
	UNIT_MESSAGES(M)
#undef M
}

static void
print_decode(void)
{
	printf("\n## The decode worker\n\n"
	    "`decode.sock` (REP) takes requests; `decode-events.sock` (PUB) "
	    "publishes the events `step` and `status`. The sequence is drawn "
	    "in `proto/decode.h`.\n");
#define M(number, name, LIST, doc)                          \
	printf("\n### %d `%s`\n\n%s\n\n", number, #name, doc); \
	PRINT_TABLE(LIST);
	DECODE_MESSAGES(M)
#undef M
	printf("\n### A piece\n\nAn element of `events` in `step` and "
	    "`replayed`. `text` is whole UTF-8 characters, without what may "
	    "begin a stop string. `finish` is empty or `stop`, `length`, "
	    "`cancel`, `deadline`, `error`.\n\n");
	PRINT_TABLE(DECODE_PIECE);
}

static void
print_errors(void)
{
	printf("\n## Errors\n\n"
	    "The object of frame %d: `code` and `text`, a sentence; `param`, "
	    "the member at fault, or empty; `retry_after_ms`; and, when the "
	    "prompt does not fit, `n_prompt_tokens` and `n_ctx`. In HTTP a "
	    "code becomes a status, a type and a code as OpenAI's error object "
	    "has them.\n\n"
	    "| code | name | HTTP | type | code in HTTP | meaning |\n"
	    "|---|---|---|---|---|---|\n", FRAME_ERROR);
#define E(name, code, http, type, tag, doc)                      \
	printf("| %d | `%s` | %d | `%s` | `%s` | %s |\n", (code), \
	    #name, http, type, tag, doc);
	ERR_LIST(E)
#undef E
}

int
main(void)
{
	print_intro();
	print_unit();
	print_decode();
	print_errors();
	return fflush(stdout) == 0 ? 0 : 1;
}

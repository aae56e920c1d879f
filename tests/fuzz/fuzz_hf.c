/*
 * Any bytes as a checkpoint: config.json, the header of model.safetensors and what is
 * repeated as its data, with a NUL between them; the tokenizer has the 256 bytes.
 * What is accepted becomes a model or is refused, whole.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "model/hf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { DATA_MAX = 1 << 16 };

static char dir[64];
static const char *const names[] = { "config.json", "model.safetensors",
	"tokenizer.json" };

/* names[i] with what is in out, which is freed. */
static void
put_file(int i, struct buf *out)
{
	char path[100];
	FILE *fp;

	snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
	if ((fp = fopen(path, "wbe")) == NULL || out->failed ||
	    (out->len > 0 && fwrite(out->data, out->len, 1, fp) != 1))
		abort();
	fclose(fp);
	buf_free(out);
}

static void
remove_dir(void)
{
	char path[100];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

static void
make_dir(void)
{
	struct buf json = { 0 };
	int next = 256;

	snprintf(dir, sizeof(dir), "%s/fuzz-hf-%d", access("/dev/shm", W_OK) == 0 ?
	    "/dev/shm" : "/tmp", (int)getpid());
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		abort();
	atexit(remove_dir);
	buf_adds(&json, "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":"
	    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
	    "\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
	for (int c = 0; c < 256; c++) {
		bool printable = (c >= 33 && c <= 126) ||
		    (c >= 161 && c <= 172) || c >= 174;

		buf_printf(&json, "%s\"\\u%04x\":%d", c == 0 ? "" : ",",
		    (unsigned)(printable ? c : next++), c);
	}
	buf_adds(&json, "}}}");
	put_file(2, &json);
}

/* The largest number in text: where the last tensor ends, if it is a header. */
static size_t
largest(const char *text, size_t n)
{
	size_t most = 0, v = 0;

	for (size_t i = 0; i < n; i++) {
		v = isdigit((unsigned char)text[i]) && v < DATA_MAX ?
		    10 * v + (size_t)(text[i] - '0') : 0;
		most = v > most ? v : most;
	}
	return most < DATA_MAX ? most : DATA_MAX;
}

/* The rest of an input up to a NUL, *at behind it then. */
static struct buf
take(const uint8_t *data, size_t n, size_t *at)
{
	struct buf out = { 0 };
	size_t k = *at < n ? strnlen((const char *)data + *at, n - *at) : 0;

	if (k > 0)
		buf_add(&out, data + *at, k);
	*at += k + 1;
	return out;
}

static void
write_checkpoint(const uint8_t *data, size_t n)
{
	size_t at = 0, size;
	struct buf config = take(data, n, &at), header = take(data, n, &at);
	struct buf file = { 0 };
	uint64_t length = header.len;

	put_file(0, &config);
	size = header.len > 0 ? largest(header.data, header.len) : 0;
	buf_add(&file, &length, 8);
	if (header.len > 0)
		buf_add(&file, header.data, header.len);
	for (size_t i = 0, k; i < size; i += k) {
		k = at >= n ? 1 : n - at < size - i ? n - at : size - i;
		buf_add(&file, at < n ? data + at : (const uint8_t *)"", k);
	}
	buf_free(&header);
	put_file(1, &file);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct h1b_source s;
	struct model m;
	struct hf *h;
	void *image;
	size_t size;

	if (dir[0] == '\0')
		make_dir();
	write_checkpoint(data, n);
	if (hf_open(dir, &h, NULL) != 0)
		return 0;
	hf_source(h, &s);
	s.name = s.origin = "fuzz";
	if (h1b_image(&s, &image, &size, NULL) == 0) {
		if (model_parse(image, size, "image", &m, NULL) != 0)
			abort();
		m.map = image;
		m.map_size = size;
		model_close(&m);
	}
	hf_close(h);
	return 0;
}

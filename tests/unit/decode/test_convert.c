#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "model/hf.h"
#include "model/hf_config.h"

#define CONFIG "{\"architectures\":[\"BitNetForCausalLM\"],\"vocab_size\":260," \
	"\"hidden_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":2," \
	"\"num_key_value_heads\":1,\"intermediate_size\":6," \
	"\"hidden_act\":\"relu2\",\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0," \
	"\"max_position_embeddings\":64,\"tie_word_embeddings\":true," \
	"\"bos_token_id\":256,\"eos_token_id\":257,\"quantization_config\":" \
	"{\"quant_method\":\"bitnet\",\"linear_class\":\"autobitlinear\"," \
	"\"quantization_mode\":\"offline\"}}"

static const struct {
	const char *change;	/* members that replace those of CONFIG */
	int code;
	const char *text;
} configs[] = {
	{ "{}", 0, "" },
	{ "{\"head_dim\":6}", 0, "" },
	{ "{\"attention_bias\":false,\"rope_scaling\":null}", 0, "" },
	{ "{\"architectures\":[\"GemmaForCausalLM\"]}", ERR_UNSUPPORTED,
	    "architecture 'GemmaForCausalLM' is not supported" },
	{ "{\"architectures\":[]}", ERR_BAD_FILE, "names none" },
	{ "{\"vocab_size\":null}", ERR_BAD_FILE, "'vocab_size' is missing" },
	{ "{\"vocab_size\":\"9\"}", ERR_BAD_FILE, "'vocab_size' is not an int" },
	{ "{\"vocab_size\":4294967296}", ERR_BAD_FILE, "an integer of 32 bits" },
	{ "{\"vocab_size\":-1}", ERR_BAD_FILE, "not in" },
	{ "{\"num_hidden_layers\":0}", ERR_BAD_FILE, "n_layers is 0" },
	{ "{\"num_attention_heads\":0}", ERR_BAD_FILE, "no multiple of" },
	{ "{\"num_attention_heads\":3}", ERR_BAD_FILE, "8 is no multiple of" },
	{ "{\"num_key_value_heads\":3}", ERR_BAD_FILE, "n_heads is 2, no mult" },
	{ "{\"rms_norm_eps\":\"x\"}", ERR_BAD_FILE, "is not a number" },
	{ "{\"rms_norm_eps\":0}", ERR_BAD_FILE, "norm_eps is 0" },
	{ "{\"rope_theta\":null}", ERR_BAD_FILE, "'rope_theta' is missing" },
	{ "{\"hidden_act\":\"gelu\"}", ERR_UNSUPPORTED, "'hidden_act' is 'gelu'" },
	{ "{\"rope_scaling\":{\"type\":\"yarn\"}}", ERR_UNSUPPORTED,
	    "'rope_scaling' is not supported" },
	{ "{\"attention_bias\":true}", ERR_UNSUPPORTED, "'attention_bias' is not" },
	{ "{\"partial_rotary_factor\":0.5}", ERR_UNSUPPORTED, "partial_rotary" },
	{ "{\"quantization_config\":null}", ERR_UNSUPPORTED, "not 'bitnet'" },
	{ "{\"quantization_config\":{\"quant_method\":\"awq\"}}", ERR_UNSUPPORTED,
	    "quant_method is 'awq'" },
	{ "{\"quantization_config\":{\"quant_method\":\"bitnet\","
	    "\"linear_class\":\"other\"}}", ERR_UNSUPPORTED, "is 'other'" },
	{ "{\"quantization_config\":{\"quant_method\":\"bitnet\","
	    "\"quantization_mode\":\"online\"}}", ERR_UNSUPPORTED, "'online'" },
	{ "{\"eos_token_id\":260}", ERR_BAD_FILE, "eos_token_id is not in 0..259" },
	{ "{\"eos_token_id\":[1,2,3,4,5,6,7,8,9]}", ERR_BAD_FILE, "more than 8" },
	{ "{\"bos_token_id\":260}", ERR_BAD_FILE, "bos is 260" },
};

static json_t *
config_with(const char *change)
{
	json_t *o = json_loads(CONFIG, 0, NULL), *c = json_loads(change, 0, NULL);

	ck_assert_ptr_nonnull(o);
	ck_assert_ptr_nonnull(c);
	json_object_update(o, c);
	json_decref(c);
	return o;
}

START_TEST(a_config_is_read_or_refused_by_name)
{
	json_t *o = config_with(configs[_i].change);
	struct hf_config c;
	struct err e = { 0 };

	ck_assert_msg(hf_config_parse(o, NULL, &c, &e) == configs[_i].code, "%s",
	    e.text);
	ck_assert_msg(strstr(e.text, configs[_i].text) != NULL, "%s", e.text);
	json_decref(o);
}
END_TEST

START_TEST(ids_that_end_a_generation_come_from_both_files)
{
	json_t *o = config_with("{}");
	json_t *g = json_loads("{\"eos_token_id\":[259,258]}", 0, NULL);
	struct hf_config c;
	struct err e;

	ck_assert_int_eq(hf_config_parse(o, g, &c, &e), 0);
	ck_assert_int_eq(c.config.n_eos, 3);
	ck_assert_int_eq(c.config.eos[0], 259);
	ck_assert_int_eq(c.config.eos[1], 258);
	ck_assert_int_eq(c.config.eos[2], 257);
	ck_assert_int_eq(c.config.head_dim, 4);
	ck_assert_int_eq(c.divide, false);
	json_decref(g);
	json_decref(o);
}
END_TEST

/* A checkpoint on disk, one tensor at a time. */
static char dir[48];
static json_t *header;
static struct buf data;

static void
put_file(const char *name, const void *bytes, size_t n)
{
	char path[96];
	FILE *fp;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	ck_assert_ptr_nonnull(fp = fopen(path, "wb"));
	ck_assert_uint_eq(fwrite(bytes, 1, n, fp), n);
	fclose(fp);
}

static void
add_tensor(const char *name, const char *dtype, int rows, int cols,
    const void *bytes, size_t n)
{
	json_t *shape = rows > 0 ? json_pack("[i,i]", rows, cols) :
	    json_pack("[i]", cols);

	json_object_set_new(header, name, json_pack("{s:s,s:o,s:[I,I]}", "dtype",
	    dtype, "shape", shape, "data_offsets", (json_int_t)data.len,
	    (json_int_t)(data.len + n)));
	buf_add(&data, bytes, n);
}

static int
weight_at(int part, int row, int col)
{
	return (part + row * 5 + col * 7 + row * col) % 3 - 1;
}

/* Packed as TERNARY says of transformers: quarters of the rows in one byte. */
static void
add_ternary(const char *name, int part, int rows, int cols, const void *scale)
{
	int n_packed = (rows + 3) / 4;
	uint8_t packed[64] = { 0 };
	char scale_name[96];

	ck_assert_int_le(n_packed * cols, 64);
	for (int o = 0; o < rows; o++)
		for (int k = 0; k < cols; k++)
			packed[o % n_packed * cols + k] |= (uint8_t)
			    ((weight_at(part, o, k) + 1) << o / n_packed * 2);
	add_tensor(name, "U8", n_packed, cols, packed,
	    (size_t)(n_packed * cols));
	snprintf(scale_name, sizeof(scale_name), "%s_scale", name);
	add_tensor(scale_name, "BF16", 0, 1, scale, 2);
}

#define L "model.layers.0."

static void
write_checkpoint(const char *change)
{
	static const float ones[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	static const char half[2] = { 0x00, 0x3f };	/* 0.5 in bf16 */
	uint8_t embed[260 * 8 * 2];
	json_t *config = config_with(change);
	char *text = json_dumps(config, 0);

	put_file("config.json", text, strlen(text));
	free(text);
	json_decref(config);
	header = json_object();
	for (size_t i = 0; i < sizeof(embed); i++)
		embed[i] = i % 2 ? 0x3f : (uint8_t)(i / 2 * 3);
	add_tensor("model.embed_tokens.weight", "BF16", 260, 8, embed,
	    sizeof(embed));
	add_tensor("model.norm.weight", "F32", 0, 8, ones, 32);
	add_tensor(L "input_layernorm.weight", "F32", 0, 8, ones, 32);
	add_tensor(L "post_attention_layernorm.weight", "F32", 0, 8, ones, 32);
	add_tensor(L "self_attn.attn_sub_norm.weight", "F32", 0, 8, ones, 32);
	add_tensor(L "mlp.ffn_sub_norm.weight", "F32", 0, 6, ones, 24);
	add_ternary(L "self_attn.q_proj.weight", 0, 8, 8, half);
	add_ternary(L "self_attn.k_proj.weight", 1, 4, 8, half);
	add_ternary(L "self_attn.v_proj.weight", 2, 4, 8, half);
	add_ternary(L "self_attn.o_proj.weight", 3, 8, 8, half);
	/* 6 rows: the last quarter is partly filled. */
	add_ternary(L "mlp.gate_proj.weight", 4, 6, 8, half);
	add_ternary(L "mlp.up_proj.weight", 5, 6, 8, half);
	add_ternary(L "mlp.down_proj.weight", 6, 8, 6, half);
}

static void
finish_checkpoint(void)
{
	char *text = json_dumps(header, 0);
	uint64_t n = strlen(text);
	struct buf b = { 0 };

	buf_add(&b, &n, 8);
	buf_adds(&b, text);
	buf_add(&b, data.data, data.len);
	put_file("model.safetensors", b.data, b.len);
	buf_free(&b);
	buf_free(&data);
	json_decref(header);
	free(text);
}

/* A tokenizer.json of the 256 bytes, the shape load_hf.c reads. */
static void
write_tokenizer(void)
{
	static const char config[] = "{\"chat_template\":[{\"name\":\"x\","
	    "\"template\":\"no\"},{\"name\":\"default\",\"template\":\"yes\"}]}";
	struct buf b = { 0 };
	unsigned n = 0;

	buf_adds(&b, "{\"added_tokens\":[],\"pre_tokenizer\":{\"type\":"
	    "\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"type\":"
	    "\"BPE\",\"merges\":[],\"vocab\":{");
	for (unsigned c = 0; c < 256; c++) {
		bool hidden = c < 33 || (c > 126 && c < 161) || c == 173;

		buf_printf(&b, "%s\"\\u%04x\":%u", c > 0 ? "," : "",
		    hidden ? 256 + n : c, c);
		n += hidden;
	}
	buf_adds(&b, "}}}");
	put_file("tokenizer.json", b.data, b.len);
	buf_free(&b);
	put_file("tokenizer_config.json", config, strlen(config));
}

static void
setup(void)
{
	strcpy(dir, "/tmp/test_convert-" "XX" "XX" "XX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	write_tokenizer();
}

static void
teardown(void)
{
	static const char *const names[] = { "config.json", "tokenizer.json",
	    "tokenizer_config.json", "model.safetensors", "m.h1b",
	    "model.safetensors.index.json" };
	char path[96];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}

static int
convert(struct model *m, struct err *e)
{
	struct h1b_source s;
	char path[96];
	struct hf *h;
	int rc;

	snprintf(path, sizeof(path), "%s/m.h1b", dir);
	if ((rc = hf_open(dir, &h, e)) != 0)
		return rc;
	hf_source(h, &s);
	s.name = s.origin = "test";
	s.embed_type = DENSE_BF16;
	if ((rc = h1b_write(path, &s, true, e)) == 0)
		rc = model_open(path, false, m, e);
	hf_close(h);
	return rc;
}

static void
check_matrix(const struct ternary *w, int part, float scale)
{
	for (int32_t o = 0; o < w->n_out; o++) {
		ck_assert_float_eq(w->scales[o], scale);
		for (int32_t i = 0; i < w->n_in; i++)
			ck_assert_int_eq(ternary_weight(w, o, i),
			    weight_at(part, o, i));
	}
}

static void
check_converted(const char *change, float scale)
{
	struct model m;
	struct err e;

	write_checkpoint(change);
	finish_checkpoint();
	ck_assert_msg(convert(&m, &e) == 0, "%s", e.text);
	check_matrix(&m.layers[0].q, 0, scale);
	check_matrix(&m.layers[0].k, 1, scale);
	check_matrix(&m.layers[0].v, 2, scale);
	check_matrix(&m.layers[0].o, 3, scale);
	check_matrix(&m.layers[0].gate, 4, scale);
	check_matrix(&m.layers[0].up, 5, scale);
	check_matrix(&m.layers[0].down, 6, scale);
	ck_assert_float_eq(m.layers[0].ffn_sub_norm[5], 6);
	ck_assert_uint_eq(m.n_chat_template, 3);
	ck_assert_mem_eq(m.chat_template, "yes", 3);
	for (int i = 0; i < 260 * 8; i++)
		ck_assert_uint_eq(((const uint16_t *)m.embed.data)[i],
		    0x3f00u | (uint8_t)(i * 3));
	model_close(&m);
}

START_TEST(a_checkpoint_of_autobitlinear_multiplies_by_its_scale)
{
	check_converted("{}", 0.5f);
}
END_TEST

START_TEST(a_checkpoint_of_bitlinear_divides_by_its_scale)
{
	check_converted("{\"quantization_config\":{\"quant_method\":\"bitnet\"}}",
	    2);
}
END_TEST

/* Each takes a good checkpoint, and does one thing to its header or data. */
static const struct {
	const char *drop, *add;		/* a tensor's name, or NULL */
	const char *config, *index;
	int code;
	const char *text;
} refused[] = {
	{ "model.norm.weight", NULL, "{}", NULL, ERR_BAD_FILE,
	    "tensor 'model.norm.weight' is missing" },
	{ L "mlp.up_proj.weight_scale", NULL, "{}", NULL, ERR_BAD_FILE,
	    "up_proj.weight_scale' is missing" },
	{ NULL, L "self_attn.q_proj.bias", "{}", NULL, ERR_UNSUPPORTED,
	    "q_proj.bias' is not part of this architecture" },
	{ NULL, NULL, "{\"hidden_size\":16}", NULL, ERR_BAD_FILE,
	    "expected BF16, F16 or F32 [260, 16]" },
	{ NULL, NULL, "{\"intermediate_size\":12}", NULL, ERR_BAD_FILE,
	    "expected U8 [3, 8]" },
	{ NULL, NULL, "{\"num_hidden_layers\":2}", NULL, ERR_BAD_FILE,
	    "tensor 'model.layers.1.input_layernorm.weight' is missing" },
	{ NULL, NULL, "{\"tie_word_embeddings\":false}", NULL, ERR_BAD_FILE,
	    "tensor 'lm_head.weight' is missing" },
	{ NULL, NULL, "{\"vocab_size\":200,\"bos_token_id\":null,"
	    "\"eos_token_id\":null}", NULL, ERR_BAD_FILE, "[200, 8]" },
	{ NULL, NULL, "{}", "[]", ERR_BAD_FILE, "no weight_map" },
	{ NULL, NULL, "{}", "{\"weight_map\":{\"a\":1}}", ERR_BAD_FILE,
	    "'a' is not in a file" },
	{ NULL, NULL, "{}", "{\"weight_map\":{\"a\":\"../x\"}}", ERR_BAD_FILE,
	    "the index names a file '../x'" },
	{ NULL, NULL, "{}", "{\"weight_map\":{\"a\":\"none\"}}", ERR_NOT_FOUND,
	    "none: No such file" },
	{ NULL, NULL, "{}", "{\"weight_map\":{\"a\":\"model.safetensors\"}}",
	    ERR_BAD_FILE, "'a' is not in 'model.safetensors'" },
};

START_TEST(a_checkpoint_that_is_not_understood_is_refused_by_name)
{
	struct model m;
	struct err e;

	write_checkpoint(refused[_i].config);
	if (refused[_i].drop != NULL) {
		/* Its bytes keep their place, under a name nobody knows. */
		json_t *t = json_incref(json_object_get(header,
		    refused[_i].drop));

		json_object_del(header, refused[_i].drop);
		json_object_set_new(header, "other", t);
	}
	if (refused[_i].add != NULL)
		add_tensor(refused[_i].add, "F32", 0, 1, "\0\0\0", 4);
	finish_checkpoint();
	if (refused[_i].index != NULL)
		put_file("model.safetensors.index.json", refused[_i].index,
		    strlen(refused[_i].index));
	ck_assert_msg(convert(&m, &e) == refused[_i].code, "%s", e.text);
	ck_assert_msg(strstr(e.text, refused[_i].text) != NULL, "%s", e.text);
}
END_TEST

START_TEST(code_3_and_a_bad_scale_are_refused_where_they_are)
{
	struct model m;
	struct err e;

	write_checkpoint("{}");
	data.data[260 * 16 + 32 * 4 + 24 + 3] = (char)0xff;	/* of q_proj */
	finish_checkpoint();
	ck_assert_int_eq(convert(&m, &e), ERR_BAD_FILE);
	ck_assert_str_eq(e.text, "tensor 'model.layers.0.self_attn.q_proj.weight':"
	    " code 3 at row 0, column 3");
	write_checkpoint("{}");
	data.data[260 * 16 + 32 * 4 + 24 + 16 + 1] = 0x7f;	/* its scale */
	data.data[260 * 16 + 32 * 4 + 24 + 16] = (char)0x80;
	finish_checkpoint();
	ck_assert_int_eq(convert(&m, &e), ERR_BAD_FILE);
	ck_assert_str_eq(e.text, "tensor 'model.layers.0.self_attn.q_proj."
	    "weight_scale' is inf, not positive");
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *s = suite_create("convert");
	TCase *t = tcase_create("config"), *d = tcase_create("directories");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, a_config_is_read_or_refused_by_name, 0,
	    COUNT(configs));
	tcase_add_test(t, ids_that_end_a_generation_come_from_both_files);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(d, setup, teardown);
	tcase_add_test(d, a_checkpoint_of_autobitlinear_multiplies_by_its_scale);
	tcase_add_test(d, a_checkpoint_of_bitlinear_divides_by_its_scale);
	tcase_add_loop_test(d,
	    a_checkpoint_that_is_not_understood_is_refused_by_name, 0,
	    COUNT(refused));
	tcase_add_test(d, code_3_and_a_bad_scale_are_refused_where_they_are);
	suite_add_tcase(s, d);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

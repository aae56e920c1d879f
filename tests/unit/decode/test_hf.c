/*
 * One small model as every Hugging Face checkpoint that people have: the same
 * weights, factors and, bit for bit, the same logits as from a .h1b.
 */
#include <stdlib.h>

#include "hf_dir.h"
#include "same_source.h"

#define MULTIPLY "{\"quantization_config\":{\"quant_method\":\"bitnet\"," \
	"\"linear_class\":\"autobitlinear\",\"quantization_mode\":\"offline\"}}"
#define DIVIDE "{\"quantization_config\":{\"quant_method\":\"bitnet\"," \
	"\"linear_class\":\"bitlinear\",\"modules_to_not_convert\":[\"lm_head\"]" \
	",\"quantization_mode\":\"offline\"}}"
#define UNNAMED "{\"quantization_config\":{\"quant_method\":\"bitnet\"," \
	"\"modules_to_not_convert\":null}}"
#define ONLINE "{\"quantization_config\":{\"quant_method\":\"bitnet\"," \
	"\"linear_class\":\"autobitlinear\",\"quantization_mode\":\"online\"}}"

enum shape { USUAL, FALCON, ODD, PADDED };

static const struct {
	const char *what, *family, *class, *config;
	enum hf_dir_kind kind;
	enum same_scales scales;
	int32_t group;
	const char *dtype;
	enum shape shape;
	int n_files;
} layouts[] = {
	{ "2B4T", "bitnet", "BitNetForCausalLM", MULTIPLY, HF_DIR_MULTIPLY,
	    SAME_TENSOR, 0, "BF16", USUAL, 1 },
	{ "2B4T in two files", "bitnet", "BitNetForCausalLM", MULTIPLY,
	    HF_DIR_MULTIPLY, SAME_TENSOR, 0, "BF16", USUAL, 2 },
	{ "2B4T's master", "bitnet", "BitNetForCausalLM", ONLINE,
	    HF_DIR_MASTER, SAME_TENSOR, 0, "BF16", USUAL, 2 },
	{ "a master of f32", "bitnet", "BitNetForCausalLM", ONLINE,
	    HF_DIR_MASTER, SAME_TENSOR, 0, "F32", USUAL, 1 },
	{ "Llama3-8B-1.58", "llama", "LlamaForCausalLM", DIVIDE, HF_DIR_DIVIDE,
	    SAME_TENSOR, 0, "BF16", USUAL, 2 },
	{ "no linear_class", "llama", "LlamaForCausalLM", UNNAMED,
	    HF_DIR_DIVIDE, SAME_TENSOR, 0, "BF16", USUAL, 1 },
	{ "Falcon3-1.58bit", "llama", "LlamaForCausalLM", UNNAMED,
	    HF_DIR_DIVIDE, SAME_TENSOR, 0, "BF16", FALCON, 1 },
	{ "llama, multiplied", "llama", "LlamaForCausalLM", MULTIPLY,
	    HF_DIR_MULTIPLY, SAME_TENSOR, 0, "F16", USUAL, 1 },
	{ "llama, master", "llama", "LlamaForCausalLM", ONLINE, HF_DIR_MASTER,
	    SAME_TENSOR, 0, "BF16", FALCON, 1 },
	{ "TriLM, one shard", "llama", "LlamaForCausalLM", "{}", HF_DIR_FLOATS,
	    SAME_TENSOR, 0, "F16", USUAL, 1 },
	{ "TriLM, two shards", "llama", "LlamaForCausalLM",
	    "{\"bos_token_id\":0,\"eos_token_id\":0}", HF_DIR_FLOATS,
	    SAME_SEGMENT, 0, "F16", PADDED, 2 },
	{ "a factor a row", "llama", "LlamaForCausalLM", "{}", HF_DIR_FLOATS,
	    SAME_ROW, 0, "BF16", USUAL, 1 },
	{ "a factor a row, f32", "llama", "LlamaForCausalLM",
	    "{\"num_key_value_heads\":2}", HF_DIR_FLOATS, SAME_ROW, 0, "F32",
	    ODD, 1 },
	{ "1bitLLM", "bitnet", "BitnetForCausalLM",
	    "{\"weight_bits\":1,\"input_bits\":8}", HF_DIR_MASTER, SAME_TENSOR,
	    0, "F16", ODD, 1 },
	{ "1bitLLM, f32", "bitnet", "BitnetForCausalLM", "{}", HF_DIR_MASTER,
	    SAME_TENSOR, 0, "F32", ODD, 2 },
	{ "Bonsai", "qwen3", "Qwen3ForCausalLM",
	    "{\"sliding_window\":null,\"use_sliding_window\":false,"
	    "\"layer_types\":[\"full_attention\",\"full_attention\"]}",
	    HF_DIR_FLOATS, SAME_GROUP, 128, "F16", USUAL, 1 },
	{ "Bonsai, bf16", "qwen3", "Qwen3ForCausalLM", "{}", HF_DIR_FLOATS,
	    SAME_GROUP, 128, "BF16", USUAL, 2 },
	{ "groups of 64", "qwen3", "Qwen3ForCausalLM", "{}", HF_DIR_FLOATS,
	    SAME_GROUP, 64, "BF16", USUAL, 1 },
	{ "groups of 256", "qwen3", "Qwen3ForCausalLM", "{}", HF_DIR_FLOATS,
	    SAME_GROUP, 256, "F16", USUAL, 1 },
	{ "groups of 128 with a rest", "llama", "LlamaForCausalLM", "{}",
	    HF_DIR_FLOATS, SAME_GROUP, 128, "F32", ODD, 1 },
	{ "qwen3, packed", "qwen3", "Qwen3ForCausalLM", MULTIPLY,
	    HF_DIR_MULTIPLY, SAME_TENSOR, 0, "BF16", USUAL, 1 },
};

static struct same_model
model_of(int i)
{
	struct same_model m = same_model(layouts[i].family);
	struct model_config *c = &m.config;

	m.scales = layouts[i].scales;
	m.group = layouts[i].group;
	c->act_float = layouts[i].kind == HF_DIR_FLOATS;
	if (layouts[i].shape == FALCON) {
		c->n_heads = 2;
		c->n_kv_heads = 1;
		c->head_dim = 256;
		c->norm_eps = 1e-6f;
		c->rope_theta = 1000042;
	}
	if (layouts[i].shape == PADDED)
		c->vocab = SAME_VOCAB + 48;
	if (layouts[i].shape == ODD) {
		c->n_heads = c->n_kv_heads = 2;
		c->head_dim = 100;
		c->hidden = 200;
		c->ffn = 338;	/* neither x 64 nor x 4 */
		c->act = MODEL_SILU;
	}
	return m;
}

static struct hf_dir dir;

static void
setup(void)
{
	dir = (struct hf_dir){ 0 };
	hf_dir_open(&dir);
}

static void
teardown(void)
{
	hf_dir_close(&dir);
}

START_TEST(every_checkpoint_is_the_same_model)
{
	struct same_model m = model_of(_i);

	dir.m = &m;
	dir.kind = layouts[_i].kind;
	dir.dtype = layouts[_i].dtype;
	dir.inner_norms = strcmp(layouts[_i].class, "BitnetForCausalLM") == 0;
	hf_dir_config(&dir, layouts[_i].class, layouts[_i].config);
	hf_dir_weights(&dir, layouts[_i].n_files);
	same_compare(dir.path, &m);
}
END_TEST

static void
write_llama(struct same_model *m, const char *config)
{
	*m = same_model("llama");
	m->config.act_float = true;
	dir.m = m;
	dir.kind = HF_DIR_FLOATS;
	dir.dtype = "BF16";
	hf_dir_config(&dir, "LlamaForCausalLM", config);
	hf_dir_weights(&dir, 1);
}

static void
put_text(const char *name, const char *text)
{
	hf_dir_put(&dir, name, text, strlen(text));
}

static void
open_dir(struct model *m, struct tokenizer **t)
{
	struct err e;

	ck_assert_msg(model_open(dir.path, false, m, &e) == 0, "%s", e.text);
	ck_assert_msg(tokenizer_load(m->tokenizer, m->n_tokenizer, t, &e) == 0,
	    "%s", e.text);
}

START_TEST(a_directory_brings_ids_template_and_whether_text_begins_with_bos)
{
	struct same_model want;
	struct tokenizer *t;
	struct model m;

	write_llama(&want, "{\"eos_token_id\":[269,271],\"head_dim\":null}");
	put_text("generation_config.json", "{\"eos_token_id\":270}");
	put_text("tokenizer_config.json",
	    "{\"add_bos_token\":false,\"chat_template\":\"one\"}");
	open_dir(&m, &t);
	ck_assert_int_eq(m.config.bos, SAME_BOS);
	ck_assert_int_eq(m.config.n_eos, 3);
	ck_assert_int_eq(m.config.eos[0], SAME_EOT);
	ck_assert_int_eq(m.config.eos[1], SAME_EOS);
	ck_assert_int_eq(m.config.eos[2], SAME_PAD);
	ck_assert_int_eq(m.config.head_dim, 64);
	ck_assert_uint_eq(m.n_chat_template, 3);
	ck_assert_mem_eq(m.chat_template, "one", 3);
	ck_assert(!tokenizer_add_bos(t));
	ck_assert_str_eq(m.architecture, "llama");
	tokenizer_destroy(t);
	model_close(&m);
	put_text("tokenizer_config.json",
	    "{\"add_bos_token\":true,\"chat_template\":\"one\"}");
	put_text("chat_template.jinja", "other");
	open_dir(&m, &t);
	ck_assert_mem_eq(m.chat_template, "other", 5);
	ck_assert(tokenizer_add_bos(t));
	tokenizer_destroy(t);
	model_close(&m);
}
END_TEST

START_TEST(a_file_of_the_directory_stands_for_the_directory)
{
	struct same_model want;
	struct tokenizer *t;
	struct model a, b;
	char path[160];
	struct err e;

	write_llama(&want, "{}");
	open_dir(&a, &t);
	snprintf(path, sizeof(path), "%s/model.safetensors", dir.path);
	ck_assert_msg(model_open(path, false, &b, &e) == 0, "%s", e.text);
	ck_assert_str_eq(a.fingerprint, b.fingerprint);
	/* The name follows the path that was given. */
	ck_assert_int_eq(strncmp(a.name, "test_hf-", 8), 0);
	ck_assert_str_eq(b.name, "model");
	tokenizer_destroy(t);
	model_close(&a);
	model_close(&b);
}
END_TEST

/* What transformers passes over is passed over. */
START_TEST(old_frequencies_and_a_second_copy_of_a_tied_head_are_let_be)
{
	struct same_model m = same_model("bitnet");
	size_t from;

	dir.m = &m;
	dir.kind = HF_DIR_MULTIPLY;
	dir.dtype = "BF16";
	hf_dir_config(&dir, "BitNetForCausalLM", MULTIPLY);
	hf_dir_dense(&dir, "lm_head.weight", H1B_EMBED);
	for (int32_t k = 0; k < 2; k++) {
		char name[80];

		from = dir.data.len;
		for (int i = 0; i < 32; i++)
			hf_dir_float(&dir.data, "F32", 1);
		snprintf(name, sizeof(name),
		    "model.layers.%d.self_attn.rotary_emb.inv_freq", k);
		hf_dir_tensor(&dir, name, "F32", 0, 32, from);
	}
	hf_dir_weights(&dir, 1);
	same_compare(dir.path, &m);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("hf");
	TCase *t = tcase_create("hf");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, every_checkpoint_is_the_same_model, 0,
	    (int)(sizeof(layouts) / sizeof(layouts[0])));
	tcase_add_test(t,
	    a_directory_brings_ids_template_and_whether_text_begins_with_bos);
	tcase_add_test(t, a_file_of_the_directory_stands_for_the_directory);
	tcase_add_test(t,
	    old_frequencies_and_a_second_copy_of_a_tied_head_are_let_be);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What a Hugging Face checkpoint may say that is not understood: by name. */
#include <stdlib.h>

#include "hf_dir.h"
#include "model/hf.h"
#include "model/hf_config.h"
#include "model/model.h"

#define LLAMA "\"architectures\":[\"LlamaForCausalLM\"],"
#define QWEN3 "\"architectures\":[\"Qwen3ForCausalLM\"],"
#define BITLLM "\"architectures\":[\"BitnetForCausalLM\"],"
#define Q(members) "\"quantization_config\":{\"quant_method\":\"bitnet\"" \
	members "}"

static const char base[] = "{" LLAMA "\"vocab_size\":260,\"hidden_size\":8,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":2,"
    "\"num_key_value_heads\":1,\"intermediate_size\":6,\"hidden_act\":\"silu\","
    "\"rms_norm_eps\":1e-6,\"rope_theta\":1000042,"
    "\"max_position_embeddings\":64,\"head_dim\":4,\"bos_token_id\":1,"
    "\"eos_token_id\":2}";

static const struct {
	const char *change;	/* members in place of those of base */
	int code;
	const char *text;
} configs[] = {
	{ "{}", 0, "" },
	{ "{\"head_dim\":null,\"rope_scaling\":{}}", 0, "" },
	{ "{\"rope_scaling\":{\"rope_type\":\"default\"}}", 0, "" },
	{ "{\"num_key_value_heads\":null,\"rope_theta\":null}", 0, "" },
	{ "{\"rope_parameters\":{\"rope_theta\":10000,\"rope_type\":\"default\","
	    "\"partial_rotary_factor\":1.0}}", 0, "" },
	{ "{\"sliding_window\":4096,\"use_sliding_window\":false}", 0, "" },
	{ "{\"sliding_window\":64}", 0, "" },
	{ "{\"layer_types\":[\"full_attention\"],\"mlp_only_layers\":[]}", 0, "" },
	{ "{\"attention_bias\":false,\"mlp_bias\":false,\"pretraining_tp\":1}", 0,
	    "" },
	{ "{" QWEN3 "\"max_window_layers\":1}", 0, "" },
	{ "{" BITLLM "\"weight_bits\":1,\"input_bits\":8}", 0, "" },
	{ "{" Q(",\"modules_to_not_convert\":[\"lm_head\"]") "}", 0, "" },
	{ "{" Q(",\"linear_class\":\"autobitlinear\",\"quantization_mode\":"
	    "\"online\"") "}", 0, "" },
	{ "{\"architectures\":[\"Qwen3MoeForCausalLM\"]}", ERR_UNSUPPORTED,
	    "'Qwen3MoeForCausalLM' is not supported, only BitNetForCausalLM" },
	{ "{\"architectures\":[\"MistralForCausalLM\"]}", ERR_UNSUPPORTED,
	    "'MistralForCausalLM'" },
	{ "{\"architectures\":[7]}", ERR_BAD_FILE, "names none" },
	{ "{\"architectures\":\"LlamaForCausalLM\"}", ERR_BAD_FILE, "names none" },
	{ "{\"hidden_act\":\"gelu_pytorch_tanh\"}", ERR_UNSUPPORTED,
	    "'hidden_act' is 'gelu_pytorch_tanh'" },
	{ "{\"hidden_act\":null}", ERR_BAD_FILE, "'hidden_act' is missing" },
	{ "{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0}}",
	    ERR_UNSUPPORTED, "'rope_scaling' is not supported: its type is "
	    "'llama3'" },
	{ "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}",
	    ERR_UNSUPPORTED, "'linear'" },
	{ "{\"rope_scaling\":{\"factor\":2}}", ERR_UNSUPPORTED, "'rope_scaling'" },
	{ "{\"rope_scaling\":2}", ERR_UNSUPPORTED, "'rope_scaling'" },
	{ "{\"rope_parameters\":{\"rope_theta\":1e4,\"rope_type\":\"yarn\"}}",
	    ERR_UNSUPPORTED, "'rope_parameters' is not supported" },
	{ "{\"rope_parameters\":{\"rope_theta\":1e4,\"factor\":2.0}}",
	    ERR_UNSUPPORTED, "its 'factor'" },
	{ "{\"rope_parameters\":{\"rope_theta\":1e4,"
	    "\"partial_rotary_factor\":0.5}}", ERR_UNSUPPORTED,
	    "its 'partial_rotary_factor'" },
	{ "{\"rope_parameters\":{}}", ERR_BAD_FILE, "'rope_theta' is missing" },
	{ "{\"rope_theta\":\"big\"}", ERR_BAD_FILE, "'rope_theta' is not a num" },
	{ "{" QWEN3 "\"rope_theta\":null}", ERR_BAD_FILE, "'rope_theta' is miss" },
	{ "{" QWEN3 "\"head_dim\":null}", ERR_BAD_FILE, "'head_dim' is missing" },
	{ "{" QWEN3 "\"num_key_value_heads\":null}", ERR_BAD_FILE,
	    "'num_key_value_heads' is missing" },
	{ "{\"head_dim\":512}", ERR_BAD_FILE, "head_dim is 512, not in 2..256" },
	{ "{\"head_dim\":3}", ERR_BAD_FILE, "head_dim is 3, not even" },
	{ "{\"sliding_window\":32}", ERR_UNSUPPORTED, "'sliding_window' is not" },
	{ "{\"sliding_window\":32,\"use_sliding_window\":true}", ERR_UNSUPPORTED,
	    "'sliding_window' is not" },
	{ "{\"layer_types\":[\"full_attention\",\"sliding_attention\"]}",
	    ERR_UNSUPPORTED, "layer 1 is 'sliding_attention'" },
	{ "{\"layer_types\":[\"linear_attention\"]}", ERR_UNSUPPORTED,
	    "layer 0 is 'linear_attention'" },
	{ "{\"layer_types\":3}", ERR_UNSUPPORTED, "'layer_types'" },
	{ "{\"attention_bias\":true}", ERR_UNSUPPORTED, "'attention_bias'" },
	{ "{\"mlp_bias\":true}", ERR_UNSUPPORTED, "'mlp_bias'" },
	{ "{\"partial_rotary_factor\":0.25}", ERR_UNSUPPORTED, "'partial_rot" },
	{ "{\"attn_logit_softcapping\":50.0}", ERR_UNSUPPORTED, "'attn_logit_so" },
	{ "{\"final_logit_softcapping\":30}", ERR_UNSUPPORTED, "'final_logit_s" },
	{ "{\"residual_multiplier\":0.22}", ERR_UNSUPPORTED, "'residual_mult" },
	{ "{\"embedding_multiplier\":12}", ERR_UNSUPPORTED, "'embedding_mult" },
	{ "{\"num_local_experts\":8}", ERR_UNSUPPORTED, "'num_local_experts'" },
	{ "{\"no_rope_layers\":[1,0]}", ERR_UNSUPPORTED, "'no_rope_layers'" },
	{ "{\"quantization_config\":{\"quant_method\":\"gptq\"}}",
	    ERR_UNSUPPORTED, "quant_method is 'gptq', not 'bitnet'" },
	{ "{\"quantization_config\":{}}", ERR_UNSUPPORTED, "quant_method is ''" },
	{ "{" Q(",\"linear_class\":\"bitlinear\",\"quantization_mode\":"
	    "\"online\"") "}", ERR_UNSUPPORTED, "which has no master" },
	{ "{" Q(",\"linear_class\":\"autobitlinear\",\"quantization_mode\":"
	    "\"later\"") "}", ERR_UNSUPPORTED, "quantization_mode is 'later'" },
	{ "{" Q(",\"linear_class\":\"BitLinear158\"") "}", ERR_UNSUPPORTED,
	    "linear_class is 'BitLinear158'" },
	{ "{" Q(",\"use_rms_norm\":true") "}", ERR_UNSUPPORTED, "'use_rms_norm'" },
	{ "{" Q(",\"modules_to_not_convert\":[\"lm_head\",\"down_proj\"]") "}",
	    ERR_UNSUPPORTED, "modules_to_not_convert has 'down_proj'" },
	{ "{" BITLLM "\"weight_bits\":2}", ERR_UNSUPPORTED, "'weight_bits'" },
	{ "{" BITLLM "\"input_bits\":16}", ERR_UNSUPPORTED, "'input_bits'" },
	{ "{\"architectures\":[\"BitNetForCausalLM\"]}", ERR_UNSUPPORTED,
	    "no 'quantization_config'" },
	{ "{\"eos_token_id\":[1,\"2\"]}", ERR_BAD_FILE, "eos_token_id is not" },
	{ "{\"eos_token_id\":-1}", ERR_BAD_FILE, "eos_token_id is not in 0..259" },
	{ "{\"bos_token_id\":-2}", ERR_BAD_FILE, "bos is -2" },
	{ "{\"max_position_embeddings\":1e6}", ERR_BAD_FILE, "not an integer" },
};

START_TEST(a_config_is_understood_or_refused_by_name)
{
	json_t *o = json_loads(base, 0, NULL);
	json_t *c = json_loads(configs[_i].change, 0, NULL);
	struct hf_config out;
	struct err e = { 0 };

	ck_assert_ptr_nonnull(o);
	ck_assert_ptr_nonnull(c);
	json_object_update(o, c);
	ck_assert_msg(hf_config_parse(o, NULL, &out, &e) == configs[_i].code,
	    "%d: %s", e.code, e.text);
	ck_assert_msg(strstr(e.text, configs[_i].text) != NULL, "%s", e.text);
	json_decref(o);
	json_decref(c);
}
END_TEST

START_TEST(a_config_says_how_weights_are_stored)
{
	static const struct {
		const char *change;
		enum hf_weights weights;
		bool divide, act_float, sub_norms, qk_norm;
	} rows[] = {
		{ "{}", HF_TERNARY, false, true, false, false },
		{ "{" QWEN3 "\"head_dim\":4}", HF_TERNARY, false, true, false,
		    true },
		{ "{" BITLLM "\"input_bits\":8}", HF_MASTER, false, false, true,
		    false },
		{ "{" Q("") "}", HF_PACKED, true, false, false, false },
		{ "{" Q(",\"linear_class\":\"autobitlinear\"") "}", HF_PACKED,
		    false, false, false, false },
		{ "{" Q(",\"linear_class\":\"autobitlinear\","
		    "\"quantization_mode\":\"online\"") "}", HF_MASTER, false,
		    false, false, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *o = json_loads(base, 0, NULL);
		json_t *c = json_loads(rows[i].change, 0, NULL);
		struct hf_config out;
		struct err e;

		json_object_update(o, c);
		ck_assert_msg(hf_config_parse(o, NULL, &out, &e) == 0, "%s",
		    e.text);
		ck_assert_int_eq((int)out.weights, (int)rows[i].weights);
		ck_assert_int_eq(out.divide, rows[i].divide);
		ck_assert_int_eq(out.config.act_float, rows[i].act_float);
		ck_assert_int_eq(out.config.sub_norms, rows[i].sub_norms);
		ck_assert_int_eq(out.config.qk_norm, rows[i].qk_norm);
		ck_assert_float_eq(out.config.norm_eps, 1e-6f);
		ck_assert_float_eq(out.config.rope_theta, 1000042);
		json_decref(o);
		json_decref(c);
	}
}
END_TEST

static struct hf_dir dir;
static struct same_model model;

static void
setup(void)
{
	model = same_model("llama");
	model.config.n_layers = 2;
	dir = (struct hf_dir){ .m = &model, .kind = HF_DIR_FLOATS,
	    .dtype = "BF16" };
	hf_dir_open(&dir);
	hf_dir_config(&dir, "LlamaForCausalLM", "{}");
}

static void
teardown(void)
{
	hf_dir_close(&dir);
}

static void
check_refused(int code, const char *text)
{
	struct err e = { 0 };
	struct hf *h;

	ck_assert_msg(hf_open(dir.path, &h, &e) == code, "%d: %s", e.code,
	    e.text);
	ck_assert_msg(strstr(e.text, text) != NULL, "%s", e.text);
}

/* Change a file of a good checkpoint. */
static const struct {
	const char *file, *contents;	/* NULL: without it */
	int code;
	const char *text;
} files[] = {
	{ "config.json", NULL, ERR_NOT_FOUND, "config.json" },
	{ "config.json", "{", ERR_BAD_FILE, "config.json: " },
	{ "config.json", "[]", ERR_BAD_FILE, "not an object" },
	{ "tokenizer.json", NULL, ERR_NOT_FOUND, "no tokenizer.json" },
	{ "tokenizer.json", "{}", ERR_BAD_FILE, "" },
	{ "tokenizer_config.json", "{\"chat_template\":7}", ERR_BAD_FILE,
	    "chat_template is neither text nor" },
	{ "generation_config.json", "{\"eos_token_id\":272}", ERR_BAD_FILE,
	    "eos_token_id is not in 0..271" },
	{ "model.safetensors.index.json", NULL, ERR_NOT_FOUND,
	    "model.safetensors: No such file" },
	{ "model.safetensors.index.json", "{\"weight_map\":{}}", ERR_BAD_FILE,
	    "no weight_map" },
	{ "model.safetensors.index.json", "{\"weight_map\":{\"lm_head.weight\":"
	    "\"/etc/passwd\"}}", ERR_BAD_FILE, "the index names a file '/etc" },
	{ "model.safetensors.index.json", "{\"weight_map\":{\"lm_head.weight\":"
	    "\"..\"}}", ERR_BAD_FILE, "the index names a file '..'" },
	{ "model.safetensors.index.json", "{\"weight_map\":{\"lm_head.weight\":"
	    "\"a/b.safetensors\"}}", ERR_BAD_FILE, "names a file 'a/b" },
	{ "model.safetensors.index.json", "{\"weight_map\":{\"lm_head.weight\":"
	    "\"model-00003-of-00002.safetensors\"}}", ERR_NOT_FOUND,
	    "model-00003-of-00002.safetensors: No such file" },
	{ "model.safetensors.index.json", "{\"weight_map\":{\"lm_head.weight\":"
	    "\"model-00001-of-00002.safetensors\"}}", ERR_BAD_FILE,
	    "'lm_head.weight' is not in 'model-00001" },
	{ "model.safetensors.index.json", "{\"weight_map\":{\"lm_head.weight\":"
	    "\"model-00002-of-00002.safetensors\"}}", ERR_BAD_FILE,
	    "that the index does not name" },
	{ "model.safetensors.index.json", "{\"weight_map\":{\"lm_head.weight\":"
	    "\"config.json\"}}", ERR_BAD_FILE, "config.json: " },
	{ "model-00002-of-00002.safetensors", "", ERR_BAD_FILE, "empty or not" },
	{ "model-00001-of-00002.safetensors", "12345678{}", ERR_BAD_FILE,
	    "a header of " },
};

START_TEST(a_damaged_directory_is_refused)
{
	char path[160];

	hf_dir_weights(&dir, 2);
	snprintf(path, sizeof(path), "%s/%s", dir.path, files[_i].file);
	if (files[_i].contents == NULL)
		unlink(path);
	else
		hf_dir_put(&dir, files[_i].file, files[_i].contents,
		    strlen(files[_i].contents));
	check_refused(files[_i].code, files[_i].text);
}
END_TEST

START_TEST(a_tensor_in_two_files_is_refused)
{
	static const char index[] = "{\"weight_map\":{"
	    "\"model.norm.weight\":\"model-00001-of-00002.safetensors\","
	    "\"x\":\"model-00002-of-00002.safetensors\"}}";

	hf_dir_vector(&dir, "model.norm.weight", H1B_NORM, -1);
	hf_dir_flush(&dir, "model-00001-of-00002.safetensors");
	/* The other file has it too, and the index names one of them. */
	hf_dir_vector(&dir, "model.norm.weight", H1B_NORM, -1);
	hf_dir_vector(&dir, "x", H1B_NORM, -1);
	hf_dir_flush(&dir, "model-00002-of-00002.safetensors");
	hf_dir_put(&dir, "model.safetensors.index.json", index, strlen(index));
	check_refused(ERR_BAD_FILE, "tensor 'model.norm.weight' is in "
	    "'model-00001-of-00002.safetensors' and in 'model-00002");
}
END_TEST

/* What the tensors of a checkpoint are, against what its config says. */
static const struct {
	const char *class, *config;
	enum hf_dir_kind kind;
	const char *text;
	int code;
} kinds[] = {
	{ "LlamaForCausalLM", "{}", HF_DIR_MASTER, "model.layers.0.self_attn."
	    "q_proj.weight row 0 columns 0..63 holds 2 magnitudes: not ternary",
	    ERR_UNSUPPORTED },
	{ "LlamaForCausalLM", "{}", HF_DIR_MULTIPLY, "q_proj.weight': U8 "
	    "[64, 256], expected BF16, F16 or F32 [256, 256]", ERR_BAD_FILE },
	{ "LlamaForCausalLM", "{" Q("") "}", HF_DIR_FLOATS, "q_proj.weight': "
	    "BF16 [256, 256], expected U8 [64, 256]", ERR_BAD_FILE },
	{ "LlamaForCausalLM", "{" Q(",\"linear_class\":\"autobitlinear\","
	    "\"quantization_mode\":\"online\"") "}", HF_DIR_DIVIDE, "expected "
	    "BF16, F16 or F32 [256, 256]", ERR_BAD_FILE },
	{ "Qwen3ForCausalLM", "{}", HF_DIR_FLOATS, "self_attn.q_norm.weight' "
	    "is missing", ERR_BAD_FILE },
	{ "BitNetForCausalLM", "{" Q("") "}", HF_DIR_DIVIDE,
	    "self_attn.attn_sub_norm.weight' is missing", ERR_BAD_FILE },
	{ "BitnetForCausalLM", "{}", HF_DIR_MASTER,
	    "self_attn.inner_attn_ln.weight' is missing", ERR_BAD_FILE },
	{ "LlamaForCausalLM", "{\"tie_word_embeddings\":true}", HF_DIR_FLOATS,
	    "'lm_head.weight' is not part of this arch", ERR_UNSUPPORTED },
	{ "LlamaForCausalLM", "{\"head_dim\":32}", HF_DIR_FLOATS,
	    "expected BF16, F16 or F32 [128, 256]", ERR_BAD_FILE },
	{ "LlamaForCausalLM", "{\"vocab_size\":512}", HF_DIR_FLOATS,
	    "[272, 256], expected BF16, F16 or F32 [512, 256]", ERR_BAD_FILE },
	{ "LlamaForCausalLM", "{\"num_hidden_layers\":1}", HF_DIR_FLOATS,
	    "tensor 'model.layers.1.", ERR_UNSUPPORTED },
};

START_TEST(tensors_that_do_not_fit_the_config_are_refused)
{
	dir.kind = kinds[_i].kind;
	hf_dir_config(&dir, kinds[_i].class, kinds[_i].config);
	hf_dir_weights(&dir, 1);
	check_refused(kinds[_i].code, kinds[_i].text);
}
END_TEST

/* Overwrite the first value of layer 0's q, which comes after the embedding. */
static void
damage_q(const void *bytes, size_t n)
{
	long at = 8 + ((long)SAME_VOCAB + 1) * 256 * 2;
	char path[160];
	uint64_t header;
	FILE *fp;

	snprintf(path, sizeof(path), "%s/model.safetensors", dir.path);
	ck_assert_ptr_nonnull(fp = fopen(path, "r+b"));
	ck_assert_uint_eq(fread(&header, 8, 1, fp), 1);
	ck_assert_int_eq(fseek(fp, at + (long)header, SEEK_SET), 0);
	ck_assert_uint_eq(fwrite(bytes, n, 1, fp), 1);
	ck_assert_int_eq(fclose(fp), 0);
}

static const struct {
	enum hf_dir_kind kind;
	const char *config, *bytes, *text;
} values[] = {
	{ HF_DIR_MASTER, "{" Q(",\"linear_class\":\"autobitlinear\","
	    "\"quantization_mode\":\"online\"") "}", "\xc0\x7f",
	    "layers.0.self_attn.q_proj.weight': a value is not finite" },
	{ HF_DIR_MASTER, "{" Q(",\"linear_class\":\"autobitlinear\","
	    "\"quantization_mode\":\"online\"") "}", "\x80\xff",
	    "layers.0.self_attn.q_proj.weight': a value is not finite" },
	{ HF_DIR_FLOATS, "{}", "\xc0\x7f",
	    "layers.0.self_attn.q_proj.weight', row 0, column 0: " },
	{ HF_DIR_FLOATS, "{}", "\x01\x3f",
	    "q_proj.weight row 0 columns 0..63 holds 2 magnitudes" },
	{ HF_DIR_DIVIDE, "{" Q("") "}", "\x55\xc5",
	    "q_proj.weight': code 3 at row 192, column 1" },
};

START_TEST(a_value_that_is_no_weight_is_refused_where_it_is)
{
	struct model m;
	struct err e;

	dir.kind = values[_i].kind;
	hf_dir_config(&dir, "LlamaForCausalLM", values[_i].config);
	hf_dir_weights(&dir, 1);
	damage_q(values[_i].bytes, 2);
	ck_assert_int_ne(model_open(dir.path, false, &m, &e), 0);
	ck_assert_msg(strstr(e.text, values[_i].text) != NULL, "%s", e.text);
	ck_assert_msg(strncmp(e.text, dir.path, strlen(dir.path)) == 0, "%s",
	    e.text);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

int
main(void)
{
	Suite *s = suite_create("hf_refused");
	TCase *t = tcase_create("config"), *d = tcase_create("directories");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, a_config_is_understood_or_refused_by_name, 0,
	    COUNT(configs));
	tcase_add_test(t, a_config_says_how_weights_are_stored);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(d, setup, teardown);
	tcase_set_timeout(d, 60);
	tcase_add_loop_test(d, a_damaged_directory_is_refused, 0, COUNT(files));
	tcase_add_test(d, a_tensor_in_two_files_is_refused);
	tcase_add_loop_test(d, tensors_that_do_not_fit_the_config_are_refused, 0,
	    COUNT(kinds));
	tcase_add_loop_test(d, a_value_that_is_no_weight_is_refused_where_it_is,
	    0, COUNT(values));
	suite_add_tcase(s, d);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

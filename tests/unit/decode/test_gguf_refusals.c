#include <check.h>
#include <stdlib.h>

#include "gguf_model.h"
#include "model/gguf_model.h"

/* Types by their place in gf_ternaries. */
enum { I2_S, TQ1_0, TQ2_0, Q2_0, Q2_0_128, PQ2_0, PTQ1_0, Q1_0, FLOATS = -1 };

#define Q "blk.0.attn_q.weight"
#define UP "blk.0.ffn_up.weight"
#define EMBD "token_embd.weight"

static const struct {
	const char *arch;
	int ternary;
	struct gm_change c;
	int code;		/* 0: not refused */
	const char *text;
} cases[] = {
	/* Nothing wrong. */
	{ "llama", I2_S, { UNCHANGED, "", 0, "" }, 0, "" },
	{ "llama", I2_S, { NO_KEY, "general.type", 0, "" }, 0, "" },
	{ "llama", I2_S, { NO_KEY, "llama.rope.freq_base", 0, "" }, 0, "" },
	{ "llama", I2_S, { NO_KEY, "llama.rope.dimension_count", 0, "" }, 0, "" },
	{ "llama", I2_S, { NO_KEY, "tokenizer.chat_template", 0, "" }, 0, "" },
	{ "llama", I2_S, { NO_KEY, "tokenizer.ggml.bos_token_id", 0, "" }, 0,
	    "" },
	{ "llama", I2_S, { KEY_INT, "llama.vocab_size", 272, "" }, 0, "" },
	{ "llama", I2_S, { KEY_INT, "llama.expert_count", 0, "" }, 0, "" },
	{ "llama", I2_S, { KEY_INT, "llama.attention.key_length", 64, "" }, 0,
	    "" },
	{ "llama", I2_S, { KEY_STRING, "llama.rope.scaling.type", 0, "none" }, 0,
	    "" },
	{ "llama", I2_S, { KEY_STRING, "llama.rope.scaling.type", 0, "linear" },
	    0, "" },
	{ "llama", I2_S, { KEY_FLOAT, "llama.rope.scaling.factor", 1, "" }, 0,
	    "" },
	{ "llama", I2_S, { KEY_BOOL, "llama.attention.causal", 1, "" }, 0, "" },
	{ "llama", I2_S, { KEY_INT, "other.thing", 5, "" }, 0, "" },
	{ "llama", I2_S, { NO_TENSOR, "output.weight", 0, "" }, 0, "" },
	/* What kind of file. */
	{ "llama", I2_S, { NO_KEY, "general.architecture", 0, "" }, ERR_BAD_FILE,
	    "key 'general.architecture' is missing" },
	{ "llama", I2_S, { KEY_INT, "general.architecture", 1, "" },
	    ERR_BAD_FILE, "is U32, expected STRING" },
	{ "llama", I2_S, { KEY_STRING, "general.architecture", 0, "qwen35" },
	    ERR_UNSUPPORTED, "architecture 'qwen35' is not supported, expected "
	    "bitnet-b1.58, bitnet-25, bitnet, llama or qwen3" },
	{ "llama", I2_S, { KEY_STRING, "general.architecture", 0, "" },
	    ERR_UNSUPPORTED, "architecture '' is not" },
	{ "llama", I2_S, { KEY_STRING, "general.type", 0, "adapter" },
	    ERR_UNSUPPORTED, "general.type is 'adapter', expected 'model'" },
	{ "llama", I2_S, { KEY_INT, "split.count", 3, "" }, ERR_UNSUPPORTED,
	    "split.count is 3: a part of a model" },
	{ "llama", I2_S, { KEY_STRING, "prism.hadamard.size", 0, "128" },
	    ERR_UNSUPPORTED, "key 'prism.hadamard.size': the weights are rotat" },
	{ "llama", I2_S, { KEY_INT, "prism.hadamard", 0, "" }, ERR_UNSUPPORTED,
	    "key 'prism.hadamard': the weights are rotated" },
	/* Keys that are missing, wrong or not understood. */
	{ "llama", I2_S, { NO_KEY, "llama.block_count", 0, "" }, ERR_BAD_FILE,
	    "x: key 'llama.block_count' is missing" },
	{ "llama", I2_S, { NO_KEY, "llama.embedding_length", 0, "" },
	    ERR_BAD_FILE, "key 'llama.embedding_length' is missing" },
	{ "llama", I2_S, { NO_KEY, "llama.attention.layer_norm_rms_epsilon", 0,
	    "" }, ERR_BAD_FILE, "rms_epsilon' is missing" },
	{ "llama", I2_S, { KEY_STRING, "llama.block_count", 0, "1" },
	    ERR_BAD_FILE, "'llama.block_count' is STRING, expected an integer" },
	{ "llama", I2_S, { KEY_INT, "llama.block_count", 513, "" },
	    ERR_BAD_FILE, "n_layers is 513, not in 1..512" },
	{ "llama", I2_S, { KEY_INT, "llama.block_count", 0, "" }, ERR_BAD_FILE,
	    "n_layers is 0" },
	{ "llama", I2_S, { KEY_INT, "llama.block_count", 4294967295.0, "" },
	    ERR_BAD_FILE, "is 4294967295, expected 32 bits" },
	{ "llama", I2_S, { KEY_INT, "llama.block_count", 2, "" }, ERR_BAD_FILE,
	    "tensor 'blk.1.attn_norm.weight' is missing" },
	{ "llama", I2_S, { KEY_INT, "llama.attention.head_count", 0, "" },
	    ERR_BAD_FILE, "256 is no multiple of attention.head_count 0" },
	{ "llama", I2_S, { KEY_INT, "llama.attention.head_count", 3, "" },
	    ERR_BAD_FILE, "no multiple of attention.head_count 3" },
	{ "qwen3", I2_S, { KEY_INT, "qwen3.attention.head_count", 0, "" },
	    ERR_BAD_FILE, "n_heads is 0" },
	{ "llama", I2_S, { KEY_INT, "llama.attention.head_count_kv", 3, "" },
	    ERR_BAD_FILE, "no multiple of n_kv_heads 3" },
	{ "llama", I2_S, { KEY_ARRAY, "llama.attention.head_count_kv", 0, "" },
	    ERR_BAD_FILE, "is ARRAY, expected an integer" },
	{ "qwen3", I2_S, { KEY_INT, "qwen3.attention.key_length", 63, "" },
	    ERR_BAD_FILE, "head_dim is 63, not even" },
	{ "llama", I2_S, { KEY_INT, "llama.attention.value_length", 32, "" },
	    ERR_UNSUPPORTED, "is 32, expected the width of a head, 64" },
	{ "llama", I2_S, { KEY_INT, "llama.rope.dimension_count", 32, "" },
	    ERR_UNSUPPORTED, "key 'llama.rope.dimension_count' is 32" },
	{ "llama", I2_S, { KEY_INT, "llama.context_length", 0, "" },
	    ERR_BAD_FILE, "n_ctx is 0" },
	{ "llama", I2_S, { KEY_INT, "llama.context_length", 2147483647, "" },
	    ERR_BAD_FILE, "n_ctx is 2147483647" },
	{ "llama", I2_S, { KEY_INT, "llama.context_length", 2147483648.0, "" },
	    ERR_BAD_FILE, "expected 32 bits" },
	{ "llama", I2_S, { KEY_INT, "llama.rope.freq_base", 10000, "" },
	    ERR_BAD_FILE, "is U32, expected F32" },
	{ "llama", I2_S, { KEY_FLOAT, "llama.rope.freq_base", 0, "" },
	    ERR_BAD_FILE, "rope_theta is 0" },
	{ "llama", I2_S, { KEY_FLOAT, "llama.rope.freq_base", NAN, "" },
	    ERR_BAD_FILE, "rope_theta is nan" },
	{ "llama", I2_S, { KEY_FLOAT, "llama.attention.layer_norm_rms_epsilon",
	    0, "" }, ERR_BAD_FILE, "norm_eps is 0" },
	{ "llama", I2_S, { KEY_INT, "llama.vocab_size", 271, "" }, ERR_BAD_FILE,
	    "is 271, but tensor 'token_embd.weight' has 272 rows" },
	{ "llama", I2_S, { KEY_INT, "llama.expert_count", 8, "" },
	    ERR_UNSUPPORTED, "key 'llama.expert_count' is 8, which is not supp" },
	{ "llama", I2_S, { KEY_INT, "llama.attention.sliding_window", 4096, "" },
	    ERR_UNSUPPORTED, "'llama.attention.sliding_window' is 4096" },
	{ "llama", I2_S, { KEY_FLOAT, "llama.final_logit_softcapping", 30, "" },
	    ERR_UNSUPPORTED, "'llama.final_logit_softcapping' is 30" },
	{ "llama", I2_S, { KEY_BOOL, "llama.use_parallel_residual", 1, "" },
	    ERR_UNSUPPORTED, "is true, which is not" },
	{ "llama", I2_S, { KEY_BOOL, "llama.attention.causal", 0, "" },
	    ERR_UNSUPPORTED, "key 'llama.attention.causal' is false" },
	{ "llama", I2_S, { KEY_FLOAT, "llama.embedding_scale", 12, "" },
	    ERR_UNSUPPORTED, "key 'llama.embedding_scale' is 12" },
	{ "llama", I2_S, { KEY_STRING, "llama.rope.scaling.type", 0, "yarn" },
	    ERR_UNSUPPORTED, "key 'llama.rope.scaling.type' is 'yarn'" },
	{ "llama", I2_S, { KEY_FLOAT, "llama.rope.scaling.factor", 4, "" },
	    ERR_UNSUPPORTED, "key 'llama.rope.scaling.factor' is 4" },
	{ "llama", I2_S, { KEY_ARRAY, "llama.rope.dimension_sections", 0, "" },
	    ERR_UNSUPPORTED, "'llama.rope.dimension_sections' is an array" },
	/* Tokens. */
	{ "llama", I2_S, { KEY_INT, "tokenizer.ggml.eos_token_id", 272, "" },
	    ERR_BAD_FILE, "'tokenizer.ggml.eos_token_id' is 272, expected 0..2" },
	{ "llama", I2_S, { KEY_INT, "tokenizer.ggml.bos_token_id", 4e9, "" },
	    ERR_BAD_FILE, "is 4000000000, expected 32 bits" },
	{ "llama", I2_S, { KEY_STRING, "tokenizer.ggml.eot_token_id", 0, "x" },
	    ERR_BAD_FILE, "'tokenizer.ggml.eot_token_id' is STRING" },
	{ "llama", I2_S, { NO_KEY, "tokenizer.ggml.tokens", 0, "" },
	    ERR_BAD_FILE, "tokenizer.ggml.tokens" },
	{ "llama", I2_S, { NO_KEY, "tokenizer.ggml.model", 0, "" },
	    ERR_BAD_FILE, "tokenizer.ggml.model" },
	{ "llama", I2_S, { KEY_INT, "tokenizer.chat_template", 1, "" },
	    ERR_BAD_FILE, "'tokenizer.chat_template' is U32, expected STRING" },
	/* Tensors that are missing, too many or of another shape. */
	{ "llama", I2_S, { NO_TENSOR, EMBD, 0, "" }, ERR_BAD_FILE,
	    "x: tensor 'token_embd.weight' is missing" },
	{ "llama", I2_S, { NO_TENSOR, Q, 0, "" }, ERR_BAD_FILE,
	    "tensor 'blk.0.attn_q.weight' is missing" },
	{ "llama", I2_S, { NO_TENSOR, "output_norm.weight", 0, "" },
	    ERR_BAD_FILE, "tensor 'output_norm.weight' is missing" },
	{ "qwen3", Q2_0, { NO_TENSOR, "blk.0.attn_q_norm.weight", 0, "" },
	    ERR_BAD_FILE, "tensor 'blk.0.attn_q_norm.weight' is missing" },
	{ "bitnet", I2_S, { NO_TENSOR, "blk.0.ffn_sub_norm.weight", 0, "" },
	    ERR_BAD_FILE, "tensor 'blk.0.ffn_sub_norm.weight' is missing" },
	{ "llama", I2_S, { TENSOR, "rope_freqs.weight", 0, "" },
	    ERR_UNSUPPORTED, "tensor 'rope_freqs.weight': RoPE with factors" },
	{ "llama", I2_S, { TENSOR, "blk.0.attn_q.bias", 0, "" },
	    ERR_UNSUPPORTED, "tensor 'blk.0.attn_q.bias' is not part of this" },
	{ "llama", I2_S, { TENSOR, "blk.1.attn_q.weight", 0, "" },
	    ERR_UNSUPPORTED, "'blk.1.attn_q.weight' is not part of this archit" },
	{ "llama", I2_S, { TENSOR, "blk.0.attn_sub_norm.weight", 0, "" },
	    ERR_UNSUPPORTED, "'blk.0.attn_sub_norm.weight' is not part" },
	{ "llama", I2_S, { ROWS, Q, 255, "" }, ERR_BAD_FILE, "tensor "
	    "'blk.0.attn_q.weight' is [256, 255, 1, 1], expected [256, 256]" },
	{ "llama", I2_S, { COLUMNS, UP, 512, "" }, ERR_BAD_FILE,
	    "'blk.0.ffn_up.weight' is [512, 512, 1, 1], expected [256, 512]" },
	{ "llama", I2_S, { COLUMNS, "output_norm.weight", 128, "" },
	    ERR_BAD_FILE, "is [128, 1, 1, 1], expected [256, 1]" },
	{ "llama", I2_S, { ROWS, EMBD, 1048577, "" }, ERR_BAD_FILE,
	    "'token_embd.weight' has 1048577 rows, expected at most 1048576" },
	{ "llama", I2_S, { ROWS, EMBD, 271, "" }, ERR_BAD_FILE,
	    "takes 138752 bytes, but the next one comes after 139264" },
	{ "llama", I2_S, { KEY_INT, "llama.feed_forward_length", 576, "" },
	    ERR_BAD_FILE, "is [256, 512, 1, 1], expected [256, 576]" },
	/* Types. */
	{ "llama", I2_S, { TYPE, Q, 12, "" }, ERR_UNSUPPORTED, "x: tensor "
	    "'blk.0.attn_q.weight' has type Q4_K, which is not ternary" },
	{ "llama", I2_S, { TYPE, Q, 2, "" }, ERR_UNSUPPORTED,
	    "has type Q4_0, which is not ternary" },
	{ "llama", I2_S, { TYPE, Q, 8, "" }, ERR_UNSUPPORTED, "type Q8_0" },
	{ "llama", I2_S, { TYPE, Q, 19, "" }, ERR_UNSUPPORTED, "type IQ1_S" },
	{ "llama", I2_S, { TYPE, Q, 38, "" }, ERR_UNSUPPORTED, "type TL1" },
	{ "llama", I2_S, { TYPE, Q, 39, "" }, ERR_UNSUPPORTED, "type TL2" },
	{ "llama", I2_S, { TYPE, Q, 135, "" }, ERR_UNSUPPORTED, "type IQ2_BN" },
	{ "llama", I2_S, { TYPE, Q, 99, "" }, ERR_UNSUPPORTED,
	    "has the type 99, which is not known" },
	{ "llama", I2_S, { TYPE, Q, 4294967295.0, "" }, ERR_UNSUPPORTED,
	    "has the type 4294967295" },
	{ "llama", I2_S, { TYPE, EMBD, 13, "" }, ERR_UNSUPPORTED,
	    "'token_embd.weight' has type Q5_K, expected F32, F16, BF16, Q8_0" },
	{ "llama", I2_S, { TYPE, "output_norm.weight", 8, "" }, ERR_UNSUPPORTED,
	    "has type Q8_0, expected F32, F16 or BF16" },
	{ "llama", FLOATS, { POKE, Q, 1, "\x11" }, ERR_UNSUPPORTED,
	    "blk.0.attn_q.weight" },
	{ "llama", FLOATS, { POKE, Q, 3, "\x7c" }, ERR_BAD_FILE,
	    "blk.0.attn_q.weight" },
	/* Sizes. */
	{ "llama", I2_S, { CUT, Q, 32, "" }, ERR_BAD_FILE,
	    "'blk.0.attn_q.weight' (I2_S) takes 16416 bytes, but 16384 bytes a" },
	{ "llama", I2_S, { GROW, Q, 32, "" }, ERR_BAD_FILE,
	    "takes 16416 bytes, but the next one comes after 16448" },
	{ "llama", TQ2_0, { TYPE, Q, 34, "" }, ERR_BAD_FILE,
	    "(TQ1_0) takes 13824 bytes, but the next one comes after 16896" },
	{ "llama", TQ1_0, { TYPE, Q, 35, "" }, ERR_BAD_FILE,
	    "(TQ2_0) takes 16896 bytes, but 13824" },
	{ "llama", Q2_0, { CUT, Q, 512, "" }, ERR_BAD_FILE,
	    "(Q2_0) has 17920 bytes, expected 18432 in groups of 64 or 17408 i" },
	{ "llama", PQ2_0, { CUT, UP, 64, "" }, ERR_BAD_FILE, "(PQ2_0) takes" },
	{ "llama", I2_S, { CUT, "output.weight", 139264, "" }, ERR_BAD_FILE,
	    "'output.weight' begins 290016 bytes into the data, but the file" },
	{ "llama", I2_S, { CUT, "output.weight", 64, "" }, ERR_BAD_FILE,
	    "'output.weight' (F16) takes 139264 bytes, but 139200 bytes after" },
	/* Factors. */
	{ "llama", I2_S, { POKE, Q, 16387, "\x7f" }, 0, "" },
	{ "llama", I2_S, { POKE, "blk.0.ffn_gate.weight", 32771, "\x7f" },
	    ERR_BAD_FILE, "'blk.0.ffn_gate.weight' (I2_S): its factor is inf" },
	{ "llama", TQ2_0, { POKE, UP, 65, "\x7c" }, ERR_BAD_FILE,
	    "'blk.0.ffn_up.weight' (TQ2_0): the factor of block 0 of row 0 is " },
	{ "llama", TQ1_0, { POKE, UP, 107, "\xfe" }, ERR_BAD_FILE,
	    "the factor of block 0 of row 1 is" },
	{ "llama", Q2_0, { POKE, UP, 19, "\x7c" }, ERR_BAD_FILE,
	    "the factor of block 1 of row 0 is" },
	{ "llama", PTQ1_0, { POKE, UP, 27, "\xfc" }, ERR_BAD_FILE,
	    "the factor of block 0 of row 0 is" },
	{ "llama", Q1_0, { POKE, UP, 1, "\x7e" }, ERR_BAD_FILE,
	    "the factor of block 0 of row 0 is" },
};

static struct gm
model_of(const char *arch, int ternary)
{
	struct gm g = { .arch = arch, .m = same_model(strcmp(arch, "bitnet") == 0 ?
	    "bitnet" : arch), .dense = 1, .floats = 1,
	    .ternary = ternary == FLOATS ? NULL : &gf_ternaries[ternary] };

	g.m.config.n_layers = 1;
	return g;
}

START_TEST(a_file_is_loaded_or_refused_by_name)
{
	struct gm g = model_of(cases[_i].arch, cases[_i].ternary);
	struct gguf_model *m;
	struct err e = { 0 };
	struct buf b;
	int rc;

	g.c = cases[_i].c;
	b = gm_file(&g);
	rc = gguf_model_parse(b.data, b.len, "x", &m, &e);
	ck_assert_msg(rc == cases[_i].code, "%d: %s", rc, e.text);
	if (rc == 0)
		gguf_model_close(m);
	else {
		ck_assert_int_eq(e.code, rc);
		ck_assert_msg(strncmp(e.text, "x: ", 3) == 0, "%s", e.text);
		ck_assert_msg(strstr(e.text, cases[_i].text) != NULL,
		    "'%s' lacks '%s'", e.text, cases[_i].text);
	}
	buf_free(&b);
}
END_TEST

/* Codes that no ternary weight has, which rows are looked at for. */
static const struct {
	int ternary;
	int byte;
	const char *value;
	const char *text;	/* NULL: good */
} pokes[] = {
	{ I2_S, 3, "\xc0", "(I2_S) is not ternary at row 0, column 3" },
	{ I2_S, 64 + 31, "\x03", "is not ternary at row 1, column 127" },
	{ I2_S, 3, "\xaa", NULL },
	{ TQ2_0, 33, "\x30", "(TQ2_0) is not ternary at row 0, column 193" },
	{ TQ1_0, 5, "\x01", "(TQ1_0) is not ternary at row 0, column 5" },
	{ TQ1_0, 5, "\x02", NULL },
	{ TQ1_0, 50, "\xed", "is not ternary at row 0, column 242" },
	{ PTQ1_0, 17, "\xc5", "(PTQ1_0) is not ternary at row 0, column 81" },
	{ Q2_0, 18 + 2, "\xc0", "(Q2_0) is not ternary at row 0, column 67" },
	{ Q2_0_128, 34 + 2, "\x03", "is not ternary at row 0, column 128" },
	{ PQ2_0, 2, "\x0c", "(PQ2_0) is not ternary at row 0, column 1" },
};

START_TEST(a_weight_that_is_not_ternary_is_refused_by_its_place)
{
	struct gm g = model_of("llama", pokes[_i].ternary);
	struct h1b_source s = { 0 };
	struct gguf_model *m;
	struct err e = { 0 };
	void *image;
	size_t n;
	struct buf b;
	int rc;

	g.c = (struct gm_change){ POKE, UP, pokes[_i].byte, pokes[_i].value };
	b = gm_file(&g);
	ck_assert_msg(gguf_model_parse(b.data, b.len, "x", &m, &e) == 0, "%s",
	    e.text);
	gguf_model_source(m, &s);
	s.name = s.origin = "x";
	rc = h1b_image(&s, &image, &n, &e);
	if (pokes[_i].text == NULL)
		ck_assert_msg(rc == 0, "%s", e.text);
	else {
		ck_assert_int_eq(rc, ERR_BAD_FILE);
		ck_assert_msg(strstr(e.text, "x: tensor '" UP "' ") != NULL &&
		    strstr(e.text, pokes[_i].text) != NULL, "'%s' lacks '%s'",
		    e.text, pokes[_i].text);
	}
	gguf_model_close(m);
	buf_free(&b);
}
END_TEST

START_TEST(more_tokens_than_rows_are_refused_and_fewer_are_not)
{
	struct gm g = model_of("llama", I2_S);
	struct gguf_model *m;
	struct err e = { 0 };
	struct buf b;

	g.m.config.vocab = SAME_VOCAB - 1;
	b = gm_file(&g);
	ck_assert_int_eq(gguf_model_parse(b.data, b.len, "x", &m, &e),
	    ERR_BAD_FILE);
	ck_assert_str_eq(e.text, "x: the tokenizer has 272 tokens, but tensor "
	    "'token_embd.weight' has 271 rows");
	buf_free(&b);
	g = model_of("llama", I2_S);
	g.m.config.vocab = SAME_VOCAB + 48;
	b = gm_file(&g);
	ck_assert_msg(gguf_model_parse(b.data, b.len, "x", &m, &e) == 0, "%s",
	    e.text);
	gguf_model_close(m);
	buf_free(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gguf_refusals");
	TCase *t = tcase_create("gguf_refusals");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, a_file_is_loaded_or_refused_by_name, 0,
	    (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_loop_test(t,
	    a_weight_that_is_not_ternary_is_refused_by_its_place, 0,
	    (int)(sizeof(pokes) / sizeof(pokes[0])));
	tcase_add_test(t, more_tokens_than_rows_are_refused_and_fewer_are_not);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "pkg.h"

static const struct {
	const char *name;
	int (*run)(int argc, char *argv[]);
	const char *usage;
	const char *help;
} commands[] = {
	{ "convert", pkg_convert,
	    "convert DIR-or-FILE OUT.h1b [--head i8|q6|q4|bf16|f16|f32|keep]\n"
	    "        [--embed i8|bf16|f16|f32|keep] [--body t2|b3] [--name TEXT]\n"
	    "        [--source TEXT] [--no-probe] [--force]",
	    "Make a .h1b from a Hugging Face checkpoint (a directory with config.json,\n"
	    "tokenizer.json, tokenizer_config.json and model.safetensors, or several\n"
	    "with their index; or the path of one of these), from a GGUF file, or from\n"
	    "a .h1b of an earlier engine or of this one.  docs/model-files.md says\n"
	    "which models and layouts are read.\n"
	    "\n"
	    "OUT.h1b appears whole or not at all: it gets its name when it is written\n"
	    "and synced.  One row of weights is in memory at a time.\n"
	    "\n"
	    "  --head i8|q6|q4|bf16|f16|f32|keep\n"
	    "                       how embedding and output matrix are held: int8 with\n"
	    "                       a factor a row, floats of two or four bytes, or as\n"
	    "                       they come.  Default: floats become i8, and what has\n"
	    "                       fewer bits already is kept.  q6 and q4, 6 and 4 bits\n"
	    "                       with a factor a row, are for the output matrix alone\n"
	    "  --embed i8|bf16|f16|f32|keep\n"
	    "                       how the embedding is held; default: as --head says,\n"
	    "                       i8 beside q6 and q4\n"
	    "  --body t2|b3         how ternary matrices are held: 2 bits a weight, or five\n"
	    "                       weights in a byte, for the same answers: smaller,\n"
	    "                       and on some processors faster.  Default: t2\n"
	    "  --name TEXT          name kept in the file; default: that of DIR\n"
	    "  --source TEXT        where it came from; default: --name\n"
	    "  --no-probe           leave out the golden logits that a worker compares\n"
	    "                       its own with when it starts\n"
	    "  --force              replace OUT.h1b if it exists\n" },
	{ "info", pkg_info,
	    "info FILE [--json] [--sections]",
	    "Print what a model holds.  All of it is checked before, as a worker does.\n"
	    "What is no .h1b is shown as the .h1b that a worker makes of it.\n"
	    "\n"
	    "  --json       one JSON object\n"
	    "  --sections   also every section: type, rows, columns, offset, bytes,\n"
	    "               checksum\n" },
	{ "verify", pkg_verify,
	    "verify FILE",
	    "Check every byte of a .h1b: header, directory, all checksums, all codes,\n"
	    "that every number is finite, that its tokenizer loads and fits, and, if it\n"
	    "has a probe, that this machine computes the logits that are in it.\n"
	    "Status 1 and one sentence if anything is not as it should be.\n" },
	{ "synth", pkg_synth,
	    "synth --arch NAME OUT.h1b [--seed N] [--layers N]\n"
	    "        [--head i8|q6|q4|bf16|f16|f32|keep] [--body t2|b3] [--force]",
	    "Write a model of random weights with the sizes of a real one, to measure\n"
	    "speed with.  It answers nonsense.  NAME is bitnet-2b4t, trilm-3.9b,\n"
	    "trilm-1.1b, bonsai-1.7b, llama3-8b-1.58, falcon3-1b, halo-demo or tiny.\n"
	    "\n"
	    "  --seed N     another seed gives other weights; default 1\n"
	    "  --layers N   so many layers and not all\n" },
	{ "tokenize", pkg_tokenize,
	    "tokenize --tokenizer FILE [--jsonl] [--parse-special]\n"
	    "        [--pattern NAME]",
	    "Token ids of the text on standard input, without BOS.  FILE is a\n"
	    "tokenizer.json, a GGUF, a .htok, tiktoken's ranks, a .h1b or a directory\n"
	    "with a tokenizer.json.  All of the input is one text, and ids are printed\n"
	    "one a line.\n"
	    "\n"
	    "  --jsonl            every line is {\"text\":\"...\"}; prints {\"ids\":[...]}\n"
	    "  --parse-special    text of a special token becomes that token\n"
	    "  --pattern NAME     how words are split, for a .htok (default: llama3 with\n"
	    "                     128,256 tokens, otherwise gpt-2) and ranks (default:\n"
	    "                     128,000 llama3, 50,256 gpt-2, 151,643 qwen2):\n"
	    "                     llama3, gpt-2, gpt-neox, qwen2, falcon3\n" },
	{ "detokenize", pkg_detokenize,
	    "detokenize --tokenizer FILE [--jsonl] [--pattern NAME]",
	    "The reverse: ids separated by white space, to their bytes.\n"
	    "\n"
	    "  --jsonl      every line is {\"ids\":[...]}; prints {\"text\":\"...\"}, with\n"
	    "               U+FFFD for bytes that are not UTF-8\n" },
	{ "pull", pkg_pull,
	    "pull NAME|HF:OWNER/REPOSITORY[@REVISION]|URL [--dir DIR] [--name NAME]\n"
	    "        [--sha256 HEX] [--file PATTERN] [--licence TEXT] [--convert]\n"
	    "        [--force] [--quiet]",
	    "Download a model into the model directory: one of the catalogue (list\n"
	    "--catalogue), a repository of the hub, or any file of HTTP or HTTPS.  A\n"
	    "pull that was cut, killed or ran out of disk goes on where it ended when\n"
	    "the same command is given again.  A model appears whole or not at all,\n"
	    "with NAME.manifest.json beside it: source, licence, sha256 of every file.\n"
	    "\n"
	    "  --dir DIR         model directory; default: $HALO_MODELS_DIR, else\n"
	    "                    /var/lib/1bit-halo/models if it can be written, else\n"
	    "                    $XDG_DATA_HOME/1bit-halo/models (~/.local/share)\n"
	    "  --name NAME       what to call it; default: that of the catalogue, of\n"
	    "                    the repository, or of the file in the URL\n"
	    "  --sha256 HEX      what the file of a URL must have; of a repository the\n"
	    "                    hub's index is asked.  Without either the sum is kept\n"
	    "                    and called not pinned\n"
	    "  --file PATTERN    one file of a repository: '*-Q2_0.gguf'\n"
	    "  --licence TEXT    for the manifest, if the source does not say it\n"
	    "  --convert         make a .h1b of it beside it\n"
	    "  --force           replace a model of that name, or half of one that was\n"
	    "                    begun from another source\n"
	    "  --quiet           no progress; print the path alone\n"
	    "  --retries N       attempts in a row that bring nothing; default 5\n"
	    "  --stall-seconds N so long under 1 KiB/s ends an attempt; default 30\n"
	    "  --hub-url URL     another hub; default $HALO_HUB_URL, else\n"
	    "                    https://huggingface.co\n"
	    "\n"
	    "Status 1: a file is not of the expected sum, or no model.  What needs a\n"
	    "login cannot be pulled.  Redirects: 5, to http and https alone, never\n"
	    "from https to http.\n" },
	{ "list", pkg_list,
	    "list [--dir DIR] [--json] [--verify] [--catalogue]",
	    "The models in the model directory, and pulls that did not end.\n"
	    "\n"
	    "  --json        one array of objects\n"
	    "  --verify      take the sums of what was pulled again; status 1 if one\n"
	    "                is not what it was\n"
	    "  --catalogue   what `pull NAME` knows\n" },
	{ "rm", pkg_rm,
	    "rm NAME [--dir DIR]",
	    "Remove a model from the model directory, with its manifest and what is\n"
	    "left of a pull.  It does not ask.  A worker that runs keeps its model\n"
	    "until it ends.\n" },
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
help(FILE *fp)
{
	fputs("1bit-halo-pkg - fetch, make, look at and check model files\n\n"
	    "usage:\n", fp);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(fp, "    1bit-halo-pkg %s\n", commands[i].usage);
	fputs("    1bit-halo-pkg COMMAND --help\n"
	    "    1bit-halo-pkg --version\n", fp);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(fp, "\n%s\n\n%s", commands[i].name, commands[i].help);
	fputs("\nexit status\n\n"
	    "0  done\n"
	    "1  verify, list --verify: a file is damaged; pull: not what was expected;\n"
	    "   tokenize, detokenize: a line was refused\n"
	    "2  unusable arguments or files; the reason is on standard error\n"
	    "\nexamples\n\n"
	    "    1bit-halo-pkg convert halo-demo/ models/halo-demo.h1b\n"
	    "    1bit-halo-pkg info models/halo-demo.h1b --json\n"
	    "    1bit-halo-pkg verify models/halo-demo.h1b && echo good\n"
	    "    echo -n 'Hello' | 1bit-halo-pkg tokenize --tokenizer models/halo-demo.h1b\n"
	    "\nThe format is docs/model-format.md.\n", fp);
}

int
pkg_fail(const struct err *e)
{
	fprintf(stderr, "1bit-halo-pkg: %s\n", e->text);
	return PKG_UNUSABLE;
}

void
pkg_size(double bytes, char out[32])
{
	static const char *const units[] = { "bytes", "kB", "MB", "GB", "TB" };
	int u = 0;

	for (; bytes >= 1000 && u < 4; u++)
		bytes /= 1000;
	snprintf(out, 32, u == 0 ? "%.0f %s" : "%.1f %s", bytes, units[u]);
}

static int
take_option(int argc, char *argv[], int *i, const struct pkg_option *options,
    struct err *e)
{
	size_t n = strcspn(argv[*i], "=");
	const char *text = argv[*i][n] == '=' ? argv[*i] + n + 1 : NULL;
	const struct pkg_option *o = options;

	while (o->name != NULL && (strlen(o->name) != n ||
	    memcmp(o->name, argv[*i], n) != 0))
		o++;
	if (o->name == NULL)
		return err_set(e, ERR_RANGE, "'%.60s' is no option of this "
		    "command", argv[*i]);
	if (o->flag != NULL) {
		if (text != NULL)
			return err_set(e, ERR_RANGE, "'%s' takes no value",
			    o->name);
		*o->flag = true;
		return 0;
	}
	if (text == NULL && *i + 1 < argc)
		text = argv[++*i];
	if (text == NULL)
		return err_set(e, ERR_RANGE, "'%s' needs a value", o->name);
	*o->value = text;
	return 0;
}

int
pkg_options(int argc, char *argv[], const struct pkg_option *options,
    const char **files, int n_files, struct err *e)
{
	bool only_files = false;
	int n = 0, rc;

	for (int i = 0; i < argc; i++) {
		if (!only_files && strcmp(argv[i], "--") == 0) {
			only_files = true;
		} else if (!only_files && argv[i][0] == '-' &&
		    argv[i][1] != '\0') {
			rc = take_option(argc, argv, &i, options, e);
			if (rc != 0)
				return rc;
		} else if (n == n_files) {
			return err_set(e, ERR_RANGE, "'%.100s' is one argument "
			    "too many", argv[i]);
		} else
			files[n++] = argv[i];
	}
	if (n < n_files)
		return err_set(e, ERR_RANGE, "%d file name%s missing",
		    n_files - n, n_files - n == 1 ? " is" : "s are");
	return 0;
}

/* The end of what went to standard output, which may be full. */
static int
end(int status)
{
	struct err e;

	if (fflush(stdout) == 0 || status != PKG_OK)
		return status;
	err_set(&e, ERR_SYSTEM, "standard output cannot be written");
	return pkg_fail(&e);
}

static bool
asks_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

/* Anywhere in a line that is half typed, but not as the name of a file. */
static bool
any_asks_help(int argc, char *argv[])
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (asks_help(argv[i]))
			return true;
	return false;
}

int
main(int argc, char *argv[])
{
	struct err e;

	conf_standard_fds();
	/* A limit on the size of files is an error that is reported, not the end. */
	signal(SIGXFSZ, SIG_IGN);
	if (argc < 2) {
		help(stderr);
		return PKG_UNUSABLE;
	}
	if (asks_help(argv[1]) || strcmp(argv[1], "help") == 0) {
		help(stdout);
		return end(PKG_OK);
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("1bit-halo-pkg %s\n", ONEBIT_VERSION);
		return end(PKG_OK);
	}
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (any_asks_help(argc - 2, argv + 2)) {
			printf("usage: 1bit-halo-pkg %s\n\n%s", commands[i].usage,
			    commands[i].help);
			return end(PKG_OK);
		}
		return end(commands[i].run(argc - 2, argv + 2));
	}
	err_set(&e, ERR_RANGE, "'%.60s' is no command; see 1bit-halo-pkg --help",
	    argv[1]);
	return pkg_fail(&e);
}

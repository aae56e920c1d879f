#!/bin/sh
# Token ids of 1bit-halo-pkg against Hugging Face's, for every container that
# the shared data have.  usage: test_tokenize.sh BUILD
pkg=$1/bin/1bit-halo-pkg
data=../shared/data/tokenizers
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

# same WHAT A B: two files.
same() {
	cmp -s "$2" "$3" && return
	echo "$1: not the same"
	diff "$2" "$3" | head -4 | cut -c1-300
	bad=$((bad + 1))
}

# refused TEXT INPUT ARGUMENT...: status not 0, and TEXT on standard error.
refused() {
	text=$1 input=$2
	shift 2
	out=$(printf '%s' "$input" | "$pkg" "$@" 2>&1 >/dev/null) &&
		{ echo "pkg $*: was not refused"; bad=$((bad + 1)); }
	case $out in
	*"$text"*) ;;
	*) echo "pkg $*: expected '$text' in: $out"; bad=$((bad + 1)) ;;
	esac
}

demo=tests/data/halo-demo/tokenizer.json
refused "line 2: '[' or '{' expected" '{"text":"a"}
x
{"text":"b"}' tokenize --jsonl --tokenizer "$demo"
refused "line 1: 'text' is missing" '{"ids":[1]}' tokenize --jsonl \
	--tokenizer "$demo"
refused "line 1: 99999 is no token" '{"ids":[99999]}' detokenize --jsonl \
	--tokenizer "$demo"
refused "has its own pattern" '' tokenize --tokenizer "$demo" --pattern gpt-2
refused "No such file" '' tokenize --tokenizer "$scratch/none"
refused "is no option" '' detokenize --tokenizer "$demo" --parse-special
printf 'YQ== 0\nYg== x\n' > "$scratch/r"
refused "line 2 is not a token" '' tokenize --tokenizer "$scratch/r" \
	--pattern gpt-2

# A directory, a text with NUL, special tokens parsed and not.
printf '%s\n' '{"text":"a\u0000b"}' '{"text":"<|eot_id|>"}' > "$scratch/in"
"$pkg" tokenize --jsonl --tokenizer tests/data/halo-demo < "$scratch/in" \
	> "$scratch/ids" || bad=$((bad + 1))
"$pkg" detokenize --jsonl --tokenizer "$demo" < "$scratch/ids" > "$scratch/out"
same "a round trip with NUL" "$scratch/in" "$scratch/out"
sed -n 2p "$scratch/in" | "$pkg" tokenize --jsonl --parse-special \
	--tokenizer "$demo" > "$scratch/out"
echo '{"ids":[8191]}' > "$scratch/want"
same "a special token" "$scratch/want" "$scratch/out"

# golden NAME FILE [OPTION...]
golden() {
	name=$1 file=$2
	shift 2
	"$pkg" tokenize --jsonl --tokenizer "$file" "$@" \
		< "$data/golden_$name.jsonl" > "$scratch/out" || bad=$((bad + 1))
	sed 's/.*,"ids":\[/{"ids":[/' "$data/golden_$name.jsonl" > "$scratch/want"
	same "$name of $file" "$scratch/want" "$scratch/out"
}

if [ -e "$data/golden_gpt-2.jsonl" ]; then
	for name in gpt-2 gpt-neox; do
		golden $name "$data/$name.tokenizer.json"
		golden $name "$data/ggml-vocab-$name.gguf"
	done
	golden gpt-2 ../shared/data/audio/whisper-gpt2.tiktoken
	golden gpt-2 ../shared/data/audio/whisper-gpt2.tiktoken --pattern gpt-2
	xz -dc "$data/llama3.tokenizer.json.xz" > "$scratch/tokenizer.json"
	golden llama3 "$scratch"
else
	echo "skipped: $data is not here"
fi
[ $bad -eq 0 ]

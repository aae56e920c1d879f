#!/bin/sh
# A text that comes through a pipe is measured as one in a file, also with a second
# model, whose tokenizer has to see it too.  usage: test_ppl.sh BUILD
decode=$1/bin/bitnet_decode
demo=models/halo-demo.h1b
bad=0

# same WHAT A B: two outputs, none of them empty.
same() {
	[ -n "$2" ] && [ "$2" = "$3" ] && return
	echo "$1: '$2', expected '$3'"
	bad=$((bad + 1))
}

measure() {
	"$decode" --model "$demo" --context 128 --ppl-windows 2 --json "$@" 2>/dev/null
}

of_file=$(measure --ppl README.md)
same "perplexity of a pipe" "$(cat README.md | measure --ppl /dev/stdin)" "$of_file"
of_file=$(measure --ppl README.md --kl-against "$demo")
same "divergence of a pipe" \
    "$(cat README.md | measure --ppl /dev/stdin --kl-against "$demo")" "$of_file"
case $of_file in
*'"kl_max":0,'*'"argmax_agreement":1,'*) ;;
*) echo "a model against itself: $of_file"; bad=$((bad + 1)) ;;
esac
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$1/bin/1bit-halo-pkg" synth --arch tiny "$scratch/tiny.h1b"
same "a model of less context" "$("$decode" --model "$demo" --context 1024 --ppl README.md \
    --kl-against "$scratch/tiny.h1b" 2>&1 | grep -o 'windows of 1024 tokens; .* was trained')" \
    "windows of 1024 tokens; $scratch/tiny.h1b was trained"
echo "ppl: 4 checks, $bad failed"
[ $bad -eq 0 ]

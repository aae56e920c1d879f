#!/bin/sh
# 1bit-halo-pkg as a user has it.  usage: test_pkg.sh BUILD
pkg=$1/bin/1bit-halo-pkg
demo=models/halo-demo.h1b
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
n=0 bad=0

# expect STATUS TEXT ARGUMENT...: the status, and TEXT somewhere in what it prints.
expect() {
	want=$1 text=$2
	shift 2
	out=$("$pkg" "$@" 2>&1 </dev/null)
	status=$?
	n=$((n + 1))
	case $status:$out in
	"$want":*"$text"*) ;;
	*)
		echo "pkg $*: status $status, expected $want and '$text' in:"
		echo "$out"
		bad=$((bad + 1))
		;;
	esac
}

# same WHAT A B: two strings.
same() {
	n=$((n + 1))
	[ "$2" = "$3" ] && return
	echo "$1: '$2', expected '$3'"
	bad=$((bad + 1))
}

expect 0 "exit status" --help
expect 0 "1bit-halo-pkg convert" convert --help
expect 0 "1bit-halo-pkg info FILE" info "$demo" --json -h
expect 2 "--help: No such file" info -- --help
expect 0 "1bit-halo-pkg 0" --version
expect 2 "usage:"
expect 2 "'make' is no command" make
expect 2 "'--wrong' is no option" info --wrong "$demo"
expect 2 "'--force' takes no value" convert a b --force=1
expect 2 "'--head' needs a value" convert a b --head
expect 2 "--head is 'q5', not i8, q6, q4, bf16, f16, f32 or keep" convert a b --head q5
expect 2 "--embed is 'q4', not i8, bf16, f16, f32 or keep" convert a b --embed q4
expect 2 "1 file name is missing" convert a
expect 2 "is one argument too many" verify a b
expect 2 "No such file" convert "$scratch/none" "$scratch/x.h1b"
expect 2 "no .h1b, GGUF or safetensors file" convert README.md "$scratch/x.h1b"
expect 2 "config.json: No such file" convert "$scratch" "$scratch/x.h1b"

expect 0 "good, " verify "$demo"
expect 2 "No such file" verify "$scratch/none.h1b"
expect 2 "config.json: No such file" verify "$scratch"
expect 1 "not a regular file" verify /dev/null
expect 0 '"n_params": 35682816' info --json "$demo"
expect 0 "layers.9.down.scale" info --sections "$demo"
same "the hash on the model card" \
    "$(sha256sum "$demo" | cut -d' ' -f1)" \
    "$(sed -n 's/^| sha256 | `\([0-9a-f]*\)` |$/\1/p' models/README.md)"

head -c 5000000 "$demo" >"$scratch/short.h1b"
expect 1 "5000000 bytes, expected 12603976" verify "$scratch/short.h1b"
cp "$demo" "$scratch/flipped.h1b"
printf '\252' | dd of="$scratch/flipped.h1b" bs=1 seek=6000000 conv=notrunc 2>/dev/null
expect 1 "section 'layers.1.down': " verify "$scratch/flipped.h1b"
expect 2 "section 'layers.1.down': " info "$scratch/flipped.h1b"

# Packed again; the ternary weights stay, so only the embedding's size changes.
expect 0 "" convert "$demo" "$scratch/bf16.h1b" --head=bf16 --no-probe
expect 0 "good, 16764928 bytes" verify "$scratch/bf16.h1b"
expect 2 "exists already" convert "$demo" "$scratch/bf16.h1b"
expect 0 "" convert "$demo" "$scratch/bf16.h1b" --head f32 --force
expect 0 '"head": "f32"' info --json "$scratch/bf16.h1b"
expect 0 "probe passed" verify "$scratch/bf16.h1b"
# A packed head stands beside the embedding, and stays as it is from then on.
expect 0 "" convert "$demo" "$scratch/q6.h1b" --head q6 --name n --source s
expect 0 "probe passed" verify "$scratch/q6.h1b"
expect 0 "embedding i8, head q6" info "$scratch/q6.h1b"
expect 0 "" convert "$scratch/q6.h1b" "$scratch/q6-again.h1b" --name n --source s
cmp "$scratch/q6.h1b" "$scratch/q6-again.h1b" || bad=$((bad + 1))
expect 0 "" convert "$scratch/q6.h1b" "$scratch/q4.h1b" --head q4 --embed f16
expect 0 "embedding f16, head q4" info "$scratch/q4.h1b"
expect 0 "" convert "$demo" "$scratch/same.h1b" --no-probe --name n --source s
expect 0 "" convert "$scratch/same.h1b" "$scratch/twice.h1b" --no-probe --name n --source s
cmp "$scratch/same.h1b" "$scratch/twice.h1b" || bad=$((bad + 1))

fingerprint() {
	"$pkg" info "$1" | sed -n 's/^fingerprint *//p'
}
same "a probe is not part of the fingerprint" \
    "$("$pkg" convert "$demo" "$scratch/probe.h1b" && fingerprint "$scratch/probe.h1b")" \
    "$(fingerprint "$demo")"
expect 2 "exists already" synth --arch tiny "$scratch/bf16.h1b"

same "it is tried again once" "$("$pkg" pull http://127.0.0.1:1/x --dir "$scratch" \
    --retries 1 2>&1 | grep -c '; again in ')" 1
expect 2 "--arch is missing" synth "$scratch/tiny.h1b"
expect 2 "no sizes are known of 'x'" synth --arch x "$scratch/tiny.h1b"
expect 2 "--seed is '-1'" synth --arch tiny --seed -1 "$scratch/tiny.h1b"
expect 0 "" synth --arch tiny --seed 7 "$scratch/tiny.h1b"
expect 0 "" synth --arch trilm-1.1b --layers 1 --head keep "$scratch/trilm.h1b"
expect 0 "o 896, down 2560" info "$scratch/trilm.h1b"
expect 0 "" synth --arch tiny --seed 7 "$scratch/again.h1b"
expect 0 "good" verify "$scratch/tiny.h1b"
cmp "$scratch/tiny.h1b" "$scratch/again.h1b" || bad=$((bad + 1))

text='Hello, wörld! 12345   <|eot_id|>'
for file in "$demo" tests/data/halo-demo/tokenizer.json; do
	same "there and back" "$(printf '%s' "$text" |
	    "$pkg" tokenize --tokenizer "$file" |
	    "$pkg" detokenize --tokenizer "$file")" "$text"
	same "a control token" "$(printf '{"text":"<|eot_id|>"}' |
	    "$pkg" tokenize --jsonl --parse-special --tokenizer "$file")" \
	    '{"ids":[8191]}'
done
same "a control token is text unless asked for" "$(printf '<|eot_id|>' |
    "$pkg" tokenize --tokenizer "$demo" | grep -c 8191)" 0
same "lines" "$(printf '{"ids":[8191]}\n{"ids":[]}\n' |
    "$pkg" detokenize --jsonl --tokenizer "$demo")" \
    '{"text":"<|eot_id|>"}
{"text":""}'
same "a bad line does not end it" "$(printf '{"text":1}\n{"text":""}\n' |
    "$pkg" tokenize --jsonl --tokenizer "$demo" 2>&1)" \
    "1bit-halo-pkg: line 1: 'text' is not a string
{\"ids\":[]}"
printf '{"ids":[8192]}' | "$pkg" detokenize --jsonl --tokenizer "$demo" 2>/dev/null
same "its status" $? 1
expect 2 "--tokenizer is missing" tokenize
expect 2 "No such file" tokenize --tokenizer "$scratch/none.json"

if [ -d ../shared/models/halo-demo ]; then
	# Every weight, by its checksum; texts and the tokenizer's form may differ.
	weights() {
		"$pkg" info --sections "$1" | awk '/^(embed|norm|layers)/ {
		    print $1, $2, $3, $4, $6, $7 }'
	}
	expect 0 "" convert ../shared/models/halo-demo "$scratch/new.h1b"
	same "the weights of the checkpoint" "$(weights "$scratch/new.h1b")" \
	    "$(weights "$demo")"
	expect 0 "probe passed" verify "$scratch/new.h1b"
	expect 0 "" convert ../shared/models/halo-demo "$scratch/keep.h1b" --head keep
	same "a checkpoint, and its conversion" "$(fingerprint "$scratch/keep.h1b")" \
	    "$(fingerprint ../shared/models/halo-demo)"
else
	echo "skipped: converting the checkpoint, ../shared/models/halo-demo is absent"
fi
timeout -s INT 0.3 "$pkg" synth --arch bonsai-1.7b --layers 8 "$scratch/cut.h1b" >"$scratch/out" 2>&1
(
	ulimit -f 2000
	expect 2 "File too large" convert "$demo" "$scratch/limit.h1b"
	[ $bad -eq 0 ]
) || bad=$((bad + 1))
mkfifo "$scratch/pipe"
expect 2 "not a regular file" convert "$demo" "$scratch/pipe" --force
same "a pipe is not replaced" "$(test -p "$scratch/pipe" && echo there)" there
if [ -c /dev/full ]; then
	"$pkg" --help >/dev/full 2>"$scratch/out"
	same "help to a full disk" $? 2
fi
same "what is left beside the files" "$(ls "$scratch" | grep -c 'h1b\..')" 0

echo "pkg: $n checks, $bad failed"
[ "$bad" -eq 0 ]

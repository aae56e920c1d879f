#!/bin/sh
# Ours and peers on the same shape in turns; a Markdown table of medians and ratios.
# usage: peers.sh [-n ROUNDS] [-t "1 2"] BUILD MODEL.h1b NAME=LLAMA_BENCH,GGUF[,ARGUMENT]...
#
#	tools/bench/synth_gguf.py --type iq2_bn /tmp/peer.gguf
#	build/bin/1bit-halo-pkg synth --arch bitnet-2b4t /tmp/ours.h1b
#	tools/bench/peers.sh build /tmp/ours.h1b ik=/opt/ik/llama-bench,/tmp/peer.gguf,-rtr,1
#
# In a round every program runs once per number of threads: a prompt of 512 tokens, decoding
# after a short one, decoding after 1024.  A program that cannot do the last by itself has it
# computed from the time of 1024 tokens with and without 32 more.  Nothing else should run.
set -eu
rounds=5 threads="1 2"
while getopts n:t: option; do
	case $option in
	n) rounds=$OPTARG ;;
	t) threads=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -ge 3 ] || { sed -n '3s/^# //p' "$0" >&2; exit 2; }
build=$1 model=$2
shift 2
. tools/bench/lib.sh
scratch=$(mktemp -d "${TMPDIR:-/tmp}/1bit-peers.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# keep NAME THREADS: "test number" on stdin to a file of each test
keep() {
	while read -r test value; do
		echo "$value" >>"$scratch/$1.$2.$test"
	done
}

round_of_ours() {
	ours "$build" "$model" "$1" 64 512 1024 | jq -r '.results |
		"short \(.[0].decode_tok_s)", "prefill \(.[1].prefill_tok_s)", "deep \(.[2].decode_tok_s)"' |
		keep ours "$1"
}

round_of_peer() {
	deep=$(peer_deep "$1")
	case $deep in
	-d*)	# depth holds for all tests of a run
		{ peer "$1" "$2" -p 512 -n 64; peer "$1" "$2" -p 0 -n 32 -d 1024; } ;;
	-pg*)
		# shellcheck disable=SC2086
		peer "$1" "$2" -p 512,1024 -n 64 $deep ;;
	*)
		# shellcheck disable=SC2086
		peer "$1" "$2" -p 512 -n 64 $deep ;;
	esac | jq -rs 'add |
		(.[] | select(.n_prompt == 512) | "prefill \(.avg_ts)"),
		(.[] | select(.n_prompt == 0 and .n_gen == 64) | "short \(.avg_ts)"),
		(.[] | select((.n_depth // 0) == 1024 or ((.test // "") == "tg32@pp1024")) | "deep \(.avg_ts)"),
		([(.[] | select(.n_prompt == 1024 and .n_gen == 32 and .test == null)),
		  (.[] | select(.n_prompt == 1024 and .n_gen == 0))] |
		 select(length == 2) | "deep \(32e9 / (.[0].avg_ns - .[1].avg_ns))")' |
		keep "$(peer_name "$1")" "$2"
}

for i in $(seq "$rounds"); do
	for t in $threads; do
		echo "round $i of $rounds, threads: $t" >&2
		round_of_ours "$t"
		for p in "$@"; do round_of_peer "$p" "$t"; done
	done
done

echo "$(machine); medians of $rounds rounds."
echo
echo "| what | threads | peer | its tok/s | ours tok/s | ratio |"
echo "|---|---|---|---|---|---|"
for test in short deep prefill; do
	case $test in
	short) what="decode, short context" ;;
	deep) what="decode at depth 1024" ;;
	prefill) what="prefill 512" ;;
	esac
	for t in $threads; do
		a=$(median <"$scratch/ours.$t.$test")
		for p in "$@"; do
			file=$scratch/$(peer_name "$p").$t.$test
			[ -s "$file" ] || { echo "peers.sh: $p measured no $test" >&2; continue; }
			median <"$file" | awk -v what="$what" -v t="$t" -v p="$(peer_name "$p")" -v a="$a" \
			    '{ printf "| %s | %d | %s | %.1f | %.1f | %.2f |\n", what, t, p, $1, a, a / $1 }'
		done
	done
done

#!/bin/sh
# Decoding with two threads beside one foreign busy process: what is left of the rate.
# usage: disturbed.sh [-n ROUNDS] [-t THREADS] BUILD MODEL.h1b [NAME=LLAMA_BENCH,GGUF[,ARGUMENT]...]...
#
# Each program runs undisturbed and disturbed in turns; medians.  The foreign process is a
# shell's empty loop of ordinary priority.  Nothing else should run.
set -eu
rounds=5 threads=2
while getopts n:t: option; do
	case $option in
	n) rounds=$OPTARG ;;
	t) threads=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -ge 2 ] || { sed -n '3s/^# //p' "$0" >&2; exit 2; }
build=$1 model=$2
shift 2
. tools/bench/lib.sh
scratch=$(mktemp -d "${TMPDIR:-/tmp}/1bit-disturbed.XXXXXX")
busy=
quiet() {
	[ -z "$busy" ] || { kill "$busy"; wait "$busy" || true; } 2>/dev/null
	busy=
}
trap 'quiet; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# both STATE: a decode rate of each program to $scratch/NAME.STATE
both() {
	state=$1
	shift
	ours "$build" "$model" "$threads" 64 | jq '.results[0].decode_tok_s' >>"$scratch/ours.$state"
	for p in "$@"; do
		peer "$p" "$threads" -p 0 -n 32 | jq '.[0].avg_ts' >>"$scratch/$(peer_name "$p").$state"
	done
}

for i in $(seq "$rounds"); do
	echo "round $i of $rounds" >&2
	both alone "$@"
	sh -c 'while :; do :; done' &
	busy=$!
	both beside "$@"
	quiet
done

echo "$(machine); medians of $rounds rounds, $threads threads."
echo
echo "| program | alone tok/s | beside a busy process | left |"
echo "|---|---|---|---|"
for name in ours "$@"; do
	name=$(peer_name "$name")
	median <"$scratch/$name.alone" | awk -v name="$name" -v b="$(median <"$scratch/$name.beside")" \
	    '{ printf "| %s | %.1f | %.1f | %.0f %% |\n", name, $1, b, 100 * b / $1 }'
done

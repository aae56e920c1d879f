# shellcheck shell=sh
# Sourced by the scripts beside it.  A peer is written NAME=LLAMA_BENCH,GGUF[,ARGUMENT]...:
# a program of the llama-bench family, a model of the same shape for it (synth_gguf.py) and
# arguments of its own; no blanks.

# median of the numbers on stdin, one a line
median() {
	sort -n | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# What was measured on: processor, cores, commit, date.
machine() {
	echo "$(uname -m), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores;" \
	    "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%Y-%m-%d)"
}

peer_name() {
	echo "${1%%=*}"
}

# ours BUILD MODEL THREADS DEPTH...: the JSON of --bench, each depth measured twice
ours() {
	ours_bin=$1/bin/bitnet_decode ours_model=$2 ours_threads=$3
	shift 3
	ours_depths=
	for d in "$@"; do ours_depths="$ours_depths --bench $d"; done
	# shellcheck disable=SC2086
	"$ours_bin" --model "$ours_model" --threads "$ours_threads" $ours_depths \
	    --bench-repeats 2 --json 2>/dev/null
}

# peer PEER THREADS ARGUMENTS...: the JSON of a run, each test done twice
peer() {
	peer_rest=${1#*=} peer_threads=$2
	shift 2
	peer_bin=${peer_rest%%,*} peer_rest=${peer_rest#*,}
	peer_gguf=${peer_rest%%,*} peer_own=
	[ "$peer_gguf" = "$peer_rest" ] || peer_own=$(echo "${peer_rest#*,}" | tr , " ")
	# shellcheck disable=SC2086
	"$peer_bin" -m "$peer_gguf" -t "$peer_threads" -r 2 -o json $peer_own "$@" 2>/dev/null
}

# Can the peer measure decoding at a depth by itself?  Prints the arguments for depth 1024.
peer_deep() {
	deep_bin=${1#*=}
	deep_help=$("${deep_bin%%,*}" --help 2>&1) || true
	case $deep_help in
	*"-gp "*) echo "-gp 1024,32" ;;
	*"--n-depth"*) echo "-d 1024" ;;
	*) echo "-pg 1024,32" ;;
	esac
}

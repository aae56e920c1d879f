#!/bin/sh
# Measure this machine and print a Markdown report.  usage: run.sh BUILD
# What it starts it stops; takes about a minute, and with BENCH_BIG=1, which adds
# a model of random weights in the shape of BitNet b1.58 2B4T (855 MB in $TMPDIR),
# two more.  Nothing else should run meanwhile.  Figures are medians; the
# rows of docs/benchmarks.md come from here.
set -eu
build=$1
. tests/e2e/stack.sh

. tools/bench/lib.sh

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

command=${BENCH_BIG:+BENCH_BIG=1 }${BENCH_PEERS:+BENCH_PEERS=… }
echo "## $(uname -m), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
echo
echo "Commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%Y-%m-%d)," \
    "$(${CC:-gcc} --version | head -n 1). Command: \`${command}make bench\`."
echo
echo "### Decode and prefill, demo model"
echo
# bench_rows MODEL DEPTH...: a table with a row for 1, 2, 4, … threads and each depth, and
# what the kernels of the last took
bench_rows() {
	model=$1
	shift
	depths=
	for d in "$@"; do depths="$depths --bench $d"; done
	echo "| threads | depth | prefill tok/s | decode tok/s | least-most | 8 together, in all | MB read a token | GB/s | memory GB/s | of it |"
	echo "|---|---|---|---|---|---|---|---|---|---|"
	threads=1
	while [ $threads -le "$(nproc)" ]; do
		# shellcheck disable=SC2086
		"$build/bin/bitnet_decode" --model "$model" --threads $threads $depths --bench-batch 8 \
		    --json 2>/dev/null >"$scratch/bench.json"
		jq -r 'def tenth: . * 10 | round / 10;
			.threads as $t | .results[] |
			"| \($t) | \(.depth) | \(.prefill_tok_s | round) | \(.decode_tok_s | tenth) " +
			"| \(.decode_min_tok_s | tenth)-\(.decode_max_tok_s | tenth) | \(.batch_tok_s | tenth) " +
			"| \(.bytes_per_token / 1e6 | tenth) | \(.gb_per_s | tenth) " +
			"| \(.bandwidth_gb_per_s | tenth) | \(.bandwidth_fraction * 100 | round) % |"' "$scratch/bench.json"
		threads=$((threads * 2))
	done
	echo
	jq -r '"A token at depth \(.results[0].depth), \(.threads) threads, by kernel: " +
		([.results[0].decode_kernels[] | "\(.name) \(.ns / 1e3 | round) µs"] | join(", ")) +
		". Weights in pages of \(if .huge_pages then "2 MiB" else "4 KiB" end)."' "$scratch/bench.json"
}
bench_rows models/halo-demo.h1b 64 256 896

echo
echo "### The stack, demo model"
echo
echo "| what | median |"
echo "|---|---|"

# Asked every 5 ms; a worker that did not start is not waited for for ever.
wait_for_ready() {
	tries=4000
	until curl -fs -o /dev/null "http://127.0.0.1:$port/readyz"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || die "the worker did not become ready"
		sleep 0.005
	done
}

# ready_ms MODEL: from the start of the process to the first 200 of /readyz.
ready_ms() {
	port=$(free_port)
	mkdir -p "$scratch/ready"
	for i in 1 2 3 4 5; do
		t0=$(now_ms)
		"$build/bin/bitnet_decode" --model "$1" --port "$port" \
		    --runtime-dir "$scratch/ready" >>"$scratch/decode.log" 2>&1 &
		pid=$!
		wait_for_ready
		echo $(($(now_ms) - t0))
		kill "$pid"
		wait "$pid" || true
	done 2>/dev/null | median
}
echo "| worker ready after its start | $(ready_ms models/halo-demo.h1b) ms |"

stack_pids=
stack_start "$build"
body='{"model":"halo-demo","messages":[{"role":"user","content":"say hello"}],"stream":true,"temperature":0}'
for i in 1 2 3 4 5 6 7 8 9; do
	curl -sN -o /dev/null -w '%{time_starttransfer}\n' "$gateway/v1/chat/completions" -d "$body"
done | awk '{ printf "%.1f\n", $1 * 1000 }' >"$scratch/first"
echo "| first byte of a streamed chat, new connection | $(median <"$scratch/first") ms |"

for i in 1 2 3 4 5; do
	curl -s "$gateway/v1/chat/completions" -d '{"model":"halo-demo","temperature":1,"seed":'$i',"max_tokens":400,
	    "messages":[{"role":"user","content":"Tell me a short story about a cat."}]}' |
		jq '.timings.predicted_per_second | round'
done >"$scratch/rate"
echo "| decode through the gateway, one stream | $(median <"$scratch/rate") tok/s |"

for i in 1 2 3 4 5; do
	curl -sN "$gateway/v1/chat/completions" -o /dev/null -d '{"model":"halo-demo","temperature":1,"seed":'$i',
	    "stream":true,"max_tokens":400,"messages":[{"role":"user","content":"Tell me a story."}]}'
done
echo "| gateway: step event published to bytes written, 50th percentile | $(
	curl -s "$gateway/metrics" | awk -F'[ "]' '/^onebit_gateway_overhead_seconds_bucket/ { le[++n] = $2; c[n] = $NF }
	END { for (i = 1; i <= n; i++) if (c[i] >= c[n] / 2) { print "at most " le[i] * 1000 " ms"; exit } }') |"
rss() { awk '/^VmRSS/ { printf "%.1f MB", $2 / 1000 }' "/proc/$1/status"; }
echo "| resident memory: worker, gateway, mcp | $(rss "$decode_pid"), $(rss "$gateway_pid"), $(rss "$mcp_pid") |"

heldout=../shared/models/halo-demo/reference/heldout.txt
if [ -e "$heldout" ]; then
	echo
	echo "### Perplexity, demo model, 64 windows of 512 tokens of its held-out text"
	echo
	"$build/bin/bitnet_decode" --model models/halo-demo.h1b --ppl "$heldout" --context 512 \
	    --ppl-windows 64 --json 2>/dev/null | jq -r '"\(.ppl * 10000 | round / 10000) over \(.tokens) tokens (transformers in float32: 38.7563)"'
fi

[ -n "${BENCH_BIG:-}" ] || exit 0
"$build/bin/1bit-halo-pkg" synth --arch bitnet-2b4t "$scratch/big.h1b" --seed 1 >/dev/null 2>&1
echo
echo "### Decode and prefill, shape of BitNet b1.58 2B4T, random weights"
echo
bench_rows "$scratch/big.h1b" 64 512 1024
echo
echo "Ready $(ready_ms "$scratch/big.h1b") ms after its start (file of $(($(stat -c %s "$scratch/big.h1b") / 1000000)) MB in the page cache)."

[ -n "${BENCH_PEERS:-}" ] || exit 0
echo
echo "### Against other programs, in turns"
echo
# shellcheck disable=SC2086
tools/bench/peers.sh "$build" "$scratch/big.h1b" $BENCH_PEERS
echo
echo "### Beside a busy process"
echo
# shellcheck disable=SC2086
tools/bench/disturbed.sh "$build" "$scratch/big.h1b" $BENCH_PEERS

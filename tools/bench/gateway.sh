#!/bin/sh
# What the gateway costs: streams (streams.c, against a worker without a model) and
# probes (wrk), as a block for docs/benchmarks.md.  usage: gateway.sh BUILD
# REPEATS= how often each row is measured; the medians are shown.
set -eu
. tools/bench/lib.sh
build=${1:-build} repeats=${REPEATS:-3}
gateway=$build/bin/1bit-halo-server scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
command -v jq >/dev/null || { echo "gateway.sh needs jq" >&2; exit 1; }

# streams N TOKENS RATE: each run's JSON, one a line, of the gateway to lines and of a bare
# loop of sends to bare, in alternation
streams() {
	: >"$scratch/lines"
	: >"$scratch/bare"
	for i in $(seq "$repeats"); do
		"$build/bin/streams" --streams "$1" --tokens "$2" --rate "$3" --json "$gateway" \
		    2>/dev/null >>"$scratch/lines" || true
		"$build/bin/streams" --bare --streams "$1" --tokens "$2" --rate "$3" --json \
		    2>/dev/null >>"$scratch/bare" || true
	done
}

# of FIELD <LINES: its median
of() {
	jq -r ".$1" | median
}

echo "### The gateway"
echo
machine
echo
echo "| streams | tokens/s of each | done, cut, stalled | CPU a token | bare | latency, median | bare | 99 % | RSS idle | RSS |"
echo "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
while read -r n tokens rate; do
	streams "$n" "$tokens" "$rate"
	echo "| $n | $rate | $(jq -rs '[map(.done), map(.cut), map(.stalled)] | map(add) | join(", ")' "$scratch/lines")" \
	    "of $((n * repeats)) | $(of cpu_ms_per_token <"$scratch/lines") ms" \
	    "| $(of cpu_ms_per_token <"$scratch/bare") ms | $(of latency_median_ms <"$scratch/lines") ms" \
	    "| $(of latency_median_ms <"$scratch/bare") ms | $(of latency_p99_ms <"$scratch/lines") ms" \
	    "| $(of rss_idle_mb <"$scratch/lines") MB | $(of rss_mb <"$scratch/lines") MB |"
done <<ROWS
1 500 50
1 2000 500
10 500 50
100 500 50
1000 200 10
ROWS
echo
echo "Latency is from the moment before the worker writes its step to the moment at which a client has read its"
echo "token: with many streams most of it is waiting for the others' turns. Bare: a loop that is woken by a step and"
echo "does nothing but send (\`streams --bare\`), the least that any gateway costs."
echo

if command -v wrk >/dev/null; then
	mkfifo "$scratch/hold"
	: >"$scratch/at"
	"$build/bin/streams" --streams 512 --serve "$gateway" <"$scratch/hold" >"$scratch/at" 2>/dev/null &
	exec 9>"$scratch/hold"
	while ! read -r port pid rss <"$scratch/at"; do sleep 0.1; done
	echo "\`/health\`, a connection for each request, \`wrk -t1 -c4\`: $(
		for i in $(seq "$repeats"); do
			wrk -t1 -c4 -d4 "http://127.0.0.1:$port/health" | awk '/^Requests\/sec/ { print $2 }'
		done | median) requests/s. Idle, with the default of 512 streams: $rss MB."
	: "$pid"
	exec 9>&-
	wait
else
	echo "/health was not measured: there is no wrk."
fi

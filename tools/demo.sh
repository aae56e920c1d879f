#!/bin/sh
# Start the stack on the bundled model, ask one question, and stay up.
# usage: demo.sh BUILD      (make demo calls it)
#
# Environment: DECODE_PORT (8080), GATEWAY_PORT (8180), MCP_PORT (8181),
# RUNTIME_DIR (a new temporary directory), MODEL (models/halo-demo.h1b),
# QUESTION (say hello), DEMO_ONCE=1 to exit after the answer.
# Exit status: 0 an answer came, 1 otherwise.
set -eu

build=$1
decode_port=${DECODE_PORT:-8080}
gateway_port=${GATEWAY_PORT:-8180}
mcp_port=${MCP_PORT:-8181}
model=${MODEL:-models/halo-demo.h1b}
question=${QUESTION:-say hello}
url=http://127.0.0.1:$gateway_port

scratch=$(mktemp -d "${TMPDIR:-/tmp}/1bit-demo.XXXXXX")
run=${RUNTIME_DIR:-$scratch/run}
pids=

stop() {
	trap - EXIT INT TERM
	# The gateway first: it finishes its streams while the worker still runs.
	for pid in $pids; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$scratch"
}
trap stop EXIT
trap 'stop; exit 130' INT
trap 'stop; exit 143' TERM

fail() {
	echo "demo: $1" >&2
	[ -z "${2:-}" ] || sed 's/^/  /' "$scratch/$2.log" | tail -n 5 >&2
	exit 1
}

# start NAME PORT PROGRAM ARGUMENT...: in the background, logging to NAME.log;
# returns when its port answers /livez, fails when it exits or 20 s passed.
start() {
	name=$1 port=$2
	shift 2
	"$@" >"$scratch/$name.log" 2>&1 &
	pid=$!
	pids="$pid $pids"
	n=0
	until curl -fs -m 1 -o /dev/null "http://127.0.0.1:$port/livez"; do
		kill -0 "$pid" 2>/dev/null || fail "$name did not start:" "$name"
		n=$((n + 1))
		[ $n -lt 200 ] || fail "$name does not answer on port $port" "$name"
		sleep 0.1
	done
	# Somebody else's server on the port would have answered too.
	kill -0 "$pid" 2>/dev/null || fail "$name did not start:" "$name"
}

start decode "$decode_port" "$build/bin/bitnet_decode" --model "$model" \
    --port "$decode_port" --runtime-dir "$run"
start gateway "$gateway_port" "$build/bin/1bit-halo-server" \
    --bind "127.0.0.1:$gateway_port" --runtime-dir "$run"
start mcp "$mcp_port" "$build/bin/1bit-halo-mcp" \
    --bind "127.0.0.1:$mcp_port" --runtime-dir "$run"

n=0
until curl -fs -m 1 -o /dev/null "$url/readyz"; do
	n=$((n + 1))
	[ $n -lt 200 ] || fail "the stack is not ready after 20 s" decode
	sleep 0.1
done

echo "1bit is up:"
echo "  chat    $url/v1 (OpenAI)"
echo "  mcp     http://127.0.0.1:$mcp_port/mcp"
echo "  worker  http://127.0.0.1:$decode_port/metrics"
echo
echo "You:       $question"
printf 'Assistant: '
body=$(jq -n --arg q "$question" '{model: "halo-demo", stream: true, temperature: 0,
    messages: [{role: "user", content: $q}]}')
curl -sN -m 60 "$url/v1/chat/completions" -H 'Content-Type: application/json' -d "$body" |
	sed -un 's/^data: \({.*\)/\1/p' |
	jq -j --unbuffered '.choices[0].delta.content // empty' | tee "$scratch/answer" || true
echo
[ -s "$scratch/answer" ] || fail "no answer came" gateway
[ -z "${DEMO_ONCE:-}" ] || exit 0

cat <<TEXT

Try it yourself:
  curl -sN $url/v1/chat/completions -d '{"model":"halo-demo","messages":[{"role":"user","content":"count to ten"}],"stream":true}'
Ctrl-C stops it.
TEXT
# Wait for any of the three to end; only a signal should.
while :; do
	for pid in $pids; do
		kill -0 "$pid" 2>/dev/null || fail "a daemon ended; see the log above" decode
	done
	sleep 1
done

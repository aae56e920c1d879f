#!/bin/sh
# make demo: it answers, a daemon that is killed comes back, and at the end nothing is
# left.  usage: test_demo.sh BUILD
. tests/e2e/stack.sh
set -e
build=$1
DECODE_PORT=$(free_port) GATEWAY_PORT=$(free_port) MCP_PORT=$(free_port)
export DECODE_PORT GATEWAY_PORT MCP_PORT TMPDIR="$scratch"
gateway=http://127.0.0.1:$GATEWAY_PORT

DEMO_ONCE=1 timeout 120 tools/demo.sh "$build" >"$scratch/once.log" 2>&1 || die "the demo failed"
grep -q '^Assistant: Hello! How can I help you today?$' "$scratch/once.log" || die "it gave no answer"

cp models/halo-demo.h1b "$scratch/other.h1b"
MODEL=$scratch/other.h1b tools/demo.sh "$build" >"$scratch/demo.log" 2>&1 &
demo=$!
stack_pids=$demo
wait_for 120 grep -q 'Ctrl-C stops it' "$scratch/demo.log"
for name in decode gateway mcp; do
	case $name in
	decode) pid=$(cat "$scratch"/1bit-demo.*/run/decode.lock) port=$DECODE_PORT ;;
	gateway) pid=$(cat "$scratch"/1bit-demo.*/run/gateway.lock) port=$GATEWAY_PORT ;;
	mcp) pid=$(pgrep -P $demo -x 1bit-halo-mcp) port=$MCP_PORT ;;
	esac
	kill -9 "$pid"
	wait_for 30 grep -q "demo: $name ended with status 137" "$scratch/demo.log"
	wait_for 30 curl -fs -m 5 "http://127.0.0.1:$port/readyz"
done
wait_for 30 curl -fs -m 5 "$gateway/readyz"
curl -fs -m 30 "$gateway/v1/completions" -d '{"model":"other","prompt":"Once","max_tokens":4}' |
	grep -q '"text"' || die "no answer after the kills"

kill "$demo"
status=0
wait "$demo" || status=$?
[ $status -eq 143 ] || die "the demo ended with status $status"
! ls -d "$scratch"/1bit-demo.* 2>/dev/null || die "the demo left files"
for port in $DECODE_PORT $GATEWAY_PORT $MCP_PORT; do
	! curl -s -m 2 "http://127.0.0.1:$port/livez" || die "somebody listens on $port still"
done
echo "ok   the demo answers, mends itself and leaves nothing"

#!/bin/sh
# Start the stack on the bundled model, ask one question, and stay up: a daemon that
# ends is started again.
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
pid_decode='' pid_gateway='' pid_mcp=''

stop() {
	trap - EXIT INT TERM
	# The gateway first: it finishes its streams while the worker still runs.
	for pid in $pid_gateway $pid_mcp $pid_decode; do
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

# launch NAME: one of the daemons in the background, logging to NAME.log.
launch() {
	case $1 in
	decode) set -- "$1" "$build/bin/bitnet_decode" --model "$model" --port "$decode_port" ;;
	gateway) set -- "$1" "$build/bin/1bit-halo-server" --bind "127.0.0.1:$gateway_port" ;;
	mcp) set -- "$1" "$build/bin/1bit-halo-mcp" --bind "127.0.0.1:$mcp_port" ;;
	esac
	name=$1
	shift
	"$@" --runtime-dir "$run" >>"$scratch/$name.log" 2>&1 &
	eval "pid_$name=$! since_$name=$(date +%s)"
}

# start NAME: run it, and return when it says that it is up; its port may be that of
# somebody else's server, which would answer too.
start() {
	launch "$1"
	n=0
	until grep -qs ': ready \|serving' "$scratch/$1.log"; do
		eval "kill -0 \$pid_$1" 2>/dev/null || fail "$1 did not start:" "$1"
		n=$((n + 1))
		[ $n -lt 1200 ] || fail "$1 is not up after two minutes:" "$1"
		sleep 0.1
	done
}

# again NAME: its daemon ended, which only a signal does; as systemd would, start
# another, unless that is of no use.
again() {
	eval "pid=\$pid_$1"
	eval "since=\$since_$1"
	status=0
	wait "$pid" || status=$?
	[ $status -ne 2 ] || fail "$1 cannot run:" "$1"
	if [ $(($(date +%s) - since)) -gt 2 ]; then short=0; else short=$((short + 1)); fi
	[ $short -lt 5 ] || fail "$1 ends again and again:" "$1"
	echo "demo: $1 ended with status $status, it is started again" >&2
	launch "$1"
}

start decode
start gateway
start mcp

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
served=$(curl -s -m 5 "$url/v1/models" | jq -r '.data[0].id')
body=$(jq -n --arg q "$question" --arg m "$served" '{model: $m, stream: true, temperature: 0,
    messages: [{role: "user", content: $q}]}')
curl -sN -m 60 "$url/v1/chat/completions" -H 'Content-Type: application/json' -d "$body" |
	sed -un 's/^data: \({.*\)/\1/p' |
	jq -j --unbuffered '.choices[0].delta.content // empty' | tee "$scratch/answer" || true
echo
[ -s "$scratch/answer" ] || fail "no answer came" gateway
[ -z "${DEMO_ONCE:-}" ] || exit 0

cat <<TEXT

Try it yourself:
  curl -sN $url/v1/chat/completions -d '{"model":"$served","messages":[{"role":"user","content":"count to ten"}],"stream":true}'
Ctrl-C stops it.
TEXT
short=0 since=0
while sleep 0.25; do
	for name in decode gateway mcp; do
		eval "kill -0 \$pid_$name" 2>/dev/null || again $name
	done
done

# Sourced by the e2e tests: the three real daemons on free ports and a runtime
# directory of their own.
#
#	. tests/e2e/stack.sh
#	stack_start BUILD		sets $decode, $gateway, $mcp (URLs), $run, $scratch
#
# They are stopped when the test exits, and their logs shown if it failed.

scratch=$(mktemp -d "${TMPDIR:-/tmp}/1bit-e2e.XXXXXX")
run=$scratch/run
stack_pids=

stack_stop() {
	status=$?
	trap - EXIT
	set +e
	for pid in $stack_pids; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	if [ $status -ne 0 ] && [ $status -ne 77 ]; then
		echo "exit status $status; the logs:"
		tail -n 20 "$scratch"/*.log 2>/dev/null
	fi
	rm -rf "$scratch"
	exit $status
}
trap stack_stop EXIT
trap 'exit 130' INT TERM

die() {
	echo "$*" >&2
	exit 1
}

# A TCP port of 127.0.0.1 that nobody listens on, printed.  They are above those of the
# process tests and below those that the kernel gives to connections, and another script,
# having another number, looks elsewhere.
free_port() {
	while :; do
		echo >>"$scratch/ports"
		port=$((20000 + $$ % 2500 * 5 + $(wc -l <"$scratch/ports") - 1))
		grep -qi ":$(printf %04x $port) " /proc/net/tcp || break
	done
	echo $port
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	tries=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || die "gave up waiting for: $*"
		sleep 0.1
	done
}

start_decode() {
	"$build/bin/bitnet_decode" --model models/halo-demo.h1b --port "$decode_port" \
	    --runtime-dir "$run" "$@" >>"$scratch/decode.log" 2>&1 &
	decode_pid=$!
	stack_pids="$stack_pids $decode_pid"
}

start_gateway() {
	"$build/bin/1bit-halo-server" --bind "127.0.0.1:$gateway_port" \
	    --runtime-dir "$run" "$@" >>"$scratch/gateway.log" 2>&1 &
	gateway_pid=$!
	stack_pids="$gateway_pid $stack_pids"
}

start_mcp() {
	"$build/bin/1bit-halo-mcp" --bind "127.0.0.1:$mcp_port" --runtime-dir "$run" \
	    "$@" >>"$scratch/mcp.log" 2>&1 &
	mcp_pid=$!
	stack_pids="$mcp_pid $stack_pids"
}

stack_start() {
	build=$1
	decode_port=$(free_port) gateway_port=$(free_port) mcp_port=$(free_port)
	decode=http://127.0.0.1:$decode_port
	gateway=http://127.0.0.1:$gateway_port
	mcp=http://127.0.0.1:$mcp_port
	start_decode
	start_gateway
	start_mcp
	wait_for 120 curl -fs -m 5 "$decode/readyz"
	wait_for 60 curl -fs -m 5 "$gateway/readyz"
	wait_for 60 curl -fs -m 5 "$mcp/readyz"
}

# The text of a stream of chat chunks on stdin.
stream_text() {
	sed -n 's/^data: \({.*\)/\1/p' | jq -j '.choices[0].delta.content // empty'
}

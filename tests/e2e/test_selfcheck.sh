#!/bin/sh
# A worker whose logits are not those of its file's probe is up, and not ready;
# one whose are is, and its gateway says so.  usage: test_selfcheck.sh BUILD
set -u
. tests/e2e/stack.sh

"$1/bin/1bit-halo-pkg" convert models/halo-demo.h1b "$scratch/demo.h1b" \
    >"$scratch/convert.log" 2>&1 || die "no probe: $(cat "$scratch/convert.log")"

# start NAME OPTION...: a worker; $pid and $url are its.
start() {
	name=$1
	shift
	port=$(free_port)
	url=http://127.0.0.1:$port
	mkdir -p "$run/$name"
	"$build/bin/bitnet_decode" --model "$scratch/demo.h1b" --port "$port" \
	    --runtime-dir "$run/$name" "$@" 2>"$scratch/$name.log" &
	pid=$!
	stack_pids="$stack_pids $pid"
	for _ in $(seq 300); do
		grep -q 'self-check' "$scratch/$name.log" &&
		    curl -s "$url/readyz?verbose" | grep -q '^self-check' && return
		kill -0 "$pid" || die "the worker '$name' ended"
		sleep 0.1
	done
	die "the worker '$name' says nothing"
}

# has URL TEXT: TEXT somewhere in the answer, with its status before it.
has() {
	got=$(curl -s -w '\n%{http_code}' "$1")
	case $got in
	*"$2"*) ;;
	*) die "$1 has no '$2' but: $got" ;;
	esac
}

build=$1
start good
has "$url/readyz?verbose" "self-check: passed: logits differ from the file's"
has "$url/health" '200'
has "$url/metrics" 'onebit_decode_selfcheck 1'
port=$(free_port)
"$build/bin/1bit-halo-server" --bind "127.0.0.1:$port" --runtime-dir "$run/good" \
    2>"$scratch/gateway.log" &
stack_pids="$stack_pids $!"
for _ in $(seq 300); do
	curl -s "http://127.0.0.1:$port/v1/models" | grep -q '"id"' && break
	sleep 0.1
done
has "http://127.0.0.1:$port/v1/models" '"selfcheck":"passed"'

start bad --rope-mode interleaved
has "$url/readyz?verbose" '503'
has "$url/readyz?verbose" 'decode: the self-check failed'
has "$url/readyz?verbose" 'self-check: failed: logits differ'
has "$url/health" '"message":"Self-check failed"'
has "$url/health" '503'
has "$url/livez" '200'
has "$url/metrics" 'onebit_decode_selfcheck 0'
has "$url/metrics" 'onebit_decode_ready 0'
kill "$pid"
wait "$pid" || die "the worker that failed its self-check stopped with $?"
echo "self-check: good and bad told apart"
exit 0

#!/bin/sh
# The command lines that the documentation promises, against the real stack.
. tests/e2e/stack.sh
set -e
stack_start "$1"
hello='Hello! How can I help you today?'
say='{"model":"halo-demo","messages":[{"role":"user","content":"say hello"}],"stream":true,"temperature":0}'

# Without a Content-Type of JSON: curl -d alone sends its form type.
curl -sN "$gateway/v1/chat/completions" -d "$say" >"$scratch/stream"
[ "$(stream_text <"$scratch/stream")" = "$hello" ] || die "the stream says: $(cat "$scratch/stream")"
[ "$(tail -n 2 "$scratch/stream" | head -n 1)" = 'data: [DONE]' ] || die "no [DONE] at the end"

# Alone, and with 16 others that draw at random: the same text.
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
	curl -sN "$gateway/v1/chat/completions" -d '{"model":"halo-demo","stream":true,
	    "max_tokens":200,"seed":'$i',"messages":[{"role":"user","content":"Tell me a story."}]}' \
	    >"$scratch/other$i" &
done
text=$(curl -sN "$gateway/v1/chat/completions" -d "$say" | stream_text)
[ "$text" = "$hello" ] || die "among 16 others: $text"
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
	wait_for 60 grep -q '^data: \[DONE\]' "$scratch/other$i"
done

# Too deep: refused, and the gateway lives.
deep=$(printf '%1000s' | tr ' ' '[')
[ "$(curl -s -o /dev/null -w '%{http_code}' "$gateway/v1/chat/completions" -d "$deep")" = 400 ] ||
	die "a body nested 1000 deep was not refused with 400"

# The worker dies in the middle of a stream and comes back: the same text.
story='{"model":"halo-demo","stream":true,"seed":42,"temperature":0.9,"max_tokens":400,"ignore_eos":true,
    "messages":[{"role":"user","content":"Tell me a short story about a cat."}]}'
curl -sN "$gateway/v1/chat/completions" -d "$story" | stream_text >"$scratch/whole"
curl -sN "$gateway/v1/chat/completions" -d "$story" >"$scratch/cut" &
curl_pid=$!
wait_for 20 grep -q '"content":"[^"]' "$scratch/cut"
kill -9 "$decode_pid"
wait "$decode_pid" || true	# as a service manager does
start_decode
wait "$curl_pid"
[ -s "$scratch/whole" ] || die "the story is empty"
stream_text <"$scratch/cut" | cmp - "$scratch/whole" || die "the text differs after a kill of the worker"
grep -q '^data: \[DONE\]' "$scratch/cut" || die "the stream did not end with [DONE]"

# Probes of every unit.
for u in "$decode" "$gateway" "$mcp"; do
	for p in /health /livez /readyz; do
		curl -fs -m 5 -o /dev/null "$u$p" || die "$u$p"
	done
	curl -fs "$u/metrics" | grep -q '^# TYPE onebit_' || die "$u/metrics"
done
[ "$(curl -s "$gateway/health")" = '{"status":"ok"}' ] || die "health bytes"
echo "ok   curl"

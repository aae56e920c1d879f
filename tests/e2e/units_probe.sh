#!/bin/bash
# Runs inside the sandbox, as root: $PAYLOAD is an installation, its units are in
# place already.  The exit status is the number of checks that failed.
# shellcheck disable=SC2016  # the checks are evaluated later
bad=0
check() { if eval "$2"; then echo "ok    $1"; else echo "FAIL  $1"; bad=$((bad + 1)); fi; }
show() { systemctl show -P "$2" "1bit-halo-$1.service"; }
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# wait_for SECONDS COMMAND: until it succeeds.
wait_for() {
	local end=$((SECONDS + $1))
	until eval "$2"; do
		((SECONDS < end)) || return 1
		sleep 0.02
	done
}
ready='curl -sf -o /dev/null --max-time 2 http://127.0.0.1:8180/readyz'
ask() {
	curl -s --max-time 20 http://127.0.0.1:8180/v1/chat/completions -d '{"model":"halo-demo",
	    "messages":[{"role":"user","content":"say hello"}],"temperature":0,"max_tokens":32}'
}
answers() { ask | tee "$OUT/answer.json" | grep -q 'Hello! How can I help you today?'; }
tool() {
	curl -s --max-time 10 http://127.0.0.1:8181/mcp -H 'Content-Type: application/json' \
	    -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: 2026-07-28' \
	    -H 'Mcp-Method: tools/call' -H "Mcp-Name: $1" -d '{"jsonrpc":"2.0","id":1,"method":"tools/call",
	    "params":{"name":"'"$1"'","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
	    "io.modelcontextprotocol/clientCapabilities":{}}}}'
}

cp -a "$PAYLOAD/usr/." /usr/ && mkdir -p /var/lib/1bit-halo && cp -a "$PAYLOAD/var/lib/1bit-halo/." /var/lib/1bit-halo/
mkdir -p /etc/1bit-halo && cp -a "$PAYLOAD/etc/1bit-halo/." /etc/1bit-halo/
mkdir -p /etc/sysusers.d /etc/tmpfiles.d
cp "$PAYLOAD/etc/sysusers.d/1bit-halo.conf" /etc/sysusers.d/
cp "$PAYLOAD/etc/tmpfiles.d/1bit-halo.conf" /etc/tmpfiles.d/
check "the user is made" 'systemd-sysusers /etc/sysusers.d/1bit-halo.conf && id halo > /dev/null'
check "the runtime directory is made" 'systemd-tmpfiles --create /etc/tmpfiles.d/1bit-halo.conf &&
	[ "$(stat -c "%a %U %G" /run/1bit-halo)" = "1770 root halo" ]'

t0=$(now_ms)
check "the units start" 'systemctl start 1bit-halo-gpu-perf 1bit-halo-bitnet 1bit-halo-server 1bit-halo-mcp'
echo "      all units ready after $(($(now_ms) - t0)) ms"
[ "$bad" -eq 0 ] || { systemctl --no-pager status "1bit-halo-*"; exit "$bad"; }
for u in bitnet server mcp; do
	check "$u is active" '[ "$(show $u ActiveState)" = active ]'
	check "$u runs as halo" '[ "$(stat -c %U /proc/"$(show $u MainPID)")" = halo ]'
	check "$u has no capability and a system-call filter" \
	    'grep -q "^CapEff:.0000000000000000" /proc/"$(show $u MainPID)"/status && grep -q "^Seccomp:.2" /proc/"$(show $u MainPID)"/status'
done
check "the gateway is ready" 'wait_for 30 "$ready"'
check "it answers" 'answers'
check "list_models names the model" 'tool list_models | grep -q halo-demo'
check "health sees the worker" 'tool health > $OUT/health.json; grep -q decode $OUT/health.json'

gateway=$(show server MainPID) mcp=$(show mcp MainPID) worker=$(show bitnet MainPID)
t0=$(now_ms)
check "the worker restarts" 'systemctl restart 1bit-halo-bitnet'
check "the gateway is ready again" 'wait_for 30 "$ready"'
echo "      ready again $(($(now_ms) - t0)) ms after systemctl restart"
check "it is another worker" '[ "$(show bitnet MainPID)" != "$worker" ]'
check "it answers after the restart" 'answers'

worker=$(show bitnet MainPID)
t0=$(now_ms)
kill -9 "$worker"
check "systemd starts it again" 'wait_for 30 "[ \$(show bitnet NRestarts) = 1 ] && [ \$(show bitnet SubState) = running ]"'
check "the gateway is ready after kill -9" 'wait_for 30 "$ready"'
echo "      ready again $(($(now_ms) - t0)) ms after kill -9"
check "it answers after kill -9" 'answers'
check "the gateway never stopped" '[ "$(show server MainPID)" = "$gateway" ] && [ "$(show server NRestarts)" = 0 ]'
check "neither did mcp" '[ "$(show mcp MainPID)" = "$mcp" ] && [ "$(show mcp NRestarts)" = 0 ]'

worker=$(show bitnet MainPID)
check "the gateway restarts alone" 'systemctl restart 1bit-halo-server && [ "$(show bitnet MainPID)" = "$worker" ]'
check "it answers from the same worker" 'wait_for 30 "$ready" && answers'

# Longer than every WatchdogSec=: each feeds its own.
sleep 11
check "no watchdog bit" '[ "$(show bitnet NRestarts) $(show server NRestarts) $(show mcp NRestarts)" = "1 0 0" ]'

# Another model beside it, as docs/operations.md says.
mine=$(awk '/^    sed -e .*runtime-dir/ { on = 1 } on && !/^    / { exit } on' "$PAYLOAD/usr/local/share/doc/1bit-halo/operations.md")
cp /var/lib/1bit-halo/models/halo-demo.h1b /var/lib/1bit-halo/models/mine.h1b
sudo() { "$@"; }
check "the documented commands add a worker" 'eval "$mine" > $OUT/mine.txt'
both='curl -s --max-time 2 http://127.0.0.1:8180/v1/models | jq -r ".data[].id" | sort | tr "\n" " " | grep -q "^halo-demo mine $"'
check "both models are listed" 'wait_for 30 "$both"'
check "the other one has its own sessions" '[ -d /var/lib/1bit-halo-mine/sessions ] && [ -S /run/1bit-halo/mine/decode.sock ]'
check "the other one goes again" 'systemctl disable -q --now 1bit-halo-mine && rm /etc/systemd/system/1bit-halo-mine.service'
cp "$PAYLOAD/etc/1bit-halo/server.conf" /etc/1bit-halo/server.conf
check "the gateway has one worker again" 'systemctl daemon-reload && systemctl restart 1bit-halo-server && wait_for 30 "$ready" && answers'

# An unusable file ends in status 2, and no storm of restarts.
sed -i 's/^port.*/port nonsense/' /etc/1bit-halo/decode.conf
systemctl restart 1bit-halo-bitnet 2> /dev/null
check "an unusable option stays down with status 2" '[ "$(show bitnet ExecMainStatus) $(show bitnet ActiveState)" = "2 failed" ]'
cp "$PAYLOAD/etc/1bit-halo/decode.conf" /etc/1bit-halo/decode.conf
check "mcp says that the worker is down" 'tool list_models | grep -q "\"available\": *false"'
check "and up again" 'systemctl restart 1bit-halo-bitnet && wait_for 30 "$ready" && answers'

check "all stop" 'systemctl stop 1bit-halo-mcp 1bit-halo-server 1bit-halo-bitnet 1bit-halo-gpu-perf'
for u in bitnet server mcp; do
	check "$u ended well" '[ "$(show $u ActiveState) $(show $u Result)" = "inactive success" ]'
done
[ "$bad" -eq 0 ] || { systemctl --no-pager status '1bit-halo-*'; cat "$OUT/answer.json" "$OUT/health.json"; }
exit "$bad"

#!/bin/bash
# The installed units: checked by systemd-analyze, then run by a private systemd
# (tools/systemd-sandbox) in which the worker is restarted and killed while the
# gateway and its clients stay.  usage: test_units.sh BUILD
set -eu
build=$1
command -v systemd-analyze >/dev/null || { echo "systemd-analyze is not installed"; exit 77; }
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
root=$t/root units=$t/root/etc/systemd/system
deploy/install.sh install "$build" "$root" /usr/local /etc/systemd/system > "$t/install.log" ||
	{ cat "$t/install.log"; exit 1; }

# The programs are below DESTDIR, so verify sees the units with that prefix.
mkdir "$t/verify"
for u in "$units"/*.service; do
	sed "s|=/usr/local/bin|=$root/usr/local/bin|" "$u" > "$t/verify/$(basename "$u")"
done
said=$(systemd-analyze verify --man=no "$t"/verify/*.service 2>&1) || true
# Other units of this machine are none of ours.
said=$(grep 1bit-halo <<< "$said" || true)
[ -z "$said" ] || { echo "systemd-analyze verify:"; echo "$said"; exit 1; }

# Exposure, in tenths: what hardening there is must stay.
while read -r unit limit; do
	systemd-analyze security --no-pager --offline=true --threshold="$limit" \
	    "$t/verify/1bit-halo-$unit.service" > "$t/exposure" 2>&1 ||
		{ tail -n 1 "$t/exposure"; echo "$unit is more exposed than $limit"; exit 1; }
done <<'LIMITS'
bitnet 17
server 13
mcp 12
LIMITS

# Their run-time looks at /proc and ptraces itself, which the units forbid.
case $build in
*-san-*) echo "the units are valid; their hardening ends sanitized programs"; exit 77 ;;
esac
[ "$(id -u)" -eq 0 ] || { echo "the units are valid; running them needs root"; exit 77; }
mkdir "$t/out"
rc=0
tools/systemd-sandbox/systemd-sandbox.sh -q -t 180 -u "$units" -p "$root" \
    -s tests/e2e/units_probe.sh -o "$t/out" 2> "$t/sandbox.log" || rc=$?
if [ ! -e "$t/out/status" ] && [ "$rc" -ge 64 ] && [ ! -s "$t/out/probe.out" ]; then
	echo "the units are valid; no private systemd here: $(tail -n 1 "$t/sandbox.log")"
	exit 77
fi
if [ "$rc" -ne 0 ]; then
	cat "$t/out/probe.out" "$t/sandbox.log"
	echo "--- the journal's end"
	grep -v 'systemd\[1\]: \(Reached\|Started\|Starting\) ' "$t/out/journal.txt" | tail -n 60
	exit 1
fi
grep '^      ' "$t/out/probe.out" || true

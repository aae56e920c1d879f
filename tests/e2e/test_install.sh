#!/bin/sh
# make install into an empty DESTDIR, and uninstall again.  usage: test_install.sh BUILD
set -eu
build=$1
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
fail() { echo "test_install: $*" >&2; exit 1; }
run() { deploy/install.sh "$1" "$build" "$t" /usr/local /etc/systemd/system > "$t.log" 2>&1 ||
	{ cat "$t.log" >&2; fail "$1 failed"; }; rm -f "$t.log"; }

umask 077	# of a root that is careful; the services run as somebody else
run install
left=$(find "$t" -mindepth 1 \( -type d ! -perm 755 -o -type f ! -perm -644 \))
[ -z "$left" ] || fail "others may not read $left"
for f in usr/local/bin/bitnet_decode usr/local/bin/1bit-halo-server \
    usr/local/bin/1bit-halo-mcp usr/local/bin/1bit-halo-pkg; do
	[ -x "$t/$f" ] || fail "$f is not there or not executable"
	"$t/$f" --version > /dev/null || fail "$f --version fails"
done
for f in etc/systemd/system/1bit-halo-bitnet.service etc/systemd/system/1bit-halo-server.service \
    etc/systemd/system/1bit-halo-mcp.service etc/systemd/system/1bit-halo-gpu-perf.service \
    etc/sysusers.d/1bit-halo.conf etc/tmpfiles.d/1bit-halo.conf etc/1bit-halo/decode.conf \
    var/lib/1bit-halo/models/halo-demo.h1b usr/local/share/doc/1bit-halo/operations.md \
    usr/local/share/doc/1bit-halo/NOTICE.md; do
	[ -f "$t/$f" ] || fail "$f is not there"
done
! grep -rn '@[A-Z]*@' "$t/etc" || fail "a path was not filled in"
cmp -s models/halo-demo.h1b "$t/var/lib/1bit-halo/models/halo-demo.h1b" || fail "the model differs"

# Each program accepts the file that was installed for it.
"$t/usr/local/bin/bitnet_decode" --config "$t/etc/1bit-halo/decode.conf" \
    --model "$t/var/lib/1bit-halo/models/halo-demo.h1b" -n > /dev/null || fail "decode.conf is refused"
"$t/usr/local/bin/1bit-halo-server" --config "$t/etc/1bit-halo/server.conf" -n > /dev/null || fail "server.conf is refused"
"$t/usr/local/bin/1bit-halo-mcp" --config "$t/etc/1bit-halo/mcp.conf" -n > /dev/null || fail "mcp.conf is refused"

# What an operator changed or added survives a second install and an uninstall.
echo '# mine' >> "$t/etc/1bit-halo/server.conf"
echo mine > "$t/var/lib/1bit-halo/models/mine.h1b"
run install
grep -q '# mine' "$t/etc/1bit-halo/server.conf" || fail "a changed file was overwritten"
run uninstall
left=$(cd "$t" && find . -type f | sort | tr '\n' ' ')
want='./etc/1bit-halo/server.conf ./var/lib/1bit-halo/models/halo-demo.h1b ./var/lib/1bit-halo/models/mine.h1b '
[ "$left" = "$want" ] || fail "after uninstall there is: $left"

#!/bin/sh
# Install the stack, or remove what install put there.
# usage: install.sh install|uninstall BUILD DESTDIR PREFIX UNITDIR
#
# With DESTDIR nothing but files is touched: no users, no directories in /run.
# Without it the user and /run/1bit-halo are made if systemd's tools are there.
# A file in /etc/1bit-halo that was changed, and models that were added, are
# never overwritten and never removed.
set -eu
# The services' user reads what root installs, whatever root's own mask is.
umask 022

usage() { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -eq 5 ] || usage
action=$1 build=$2 dest=$3 prefix=$4 unitdir=$5
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
case $prefix$unitdir in *[\ \|\&\\]*) echo "install.sh: PREFIX and UNITDIR may hold no blank, |, & or \\" >&2; exit 2 ;; esac

# sysusers.d and tmpfiles.d stand beside systemd/system, in /etc or /usr/lib.
case $unitdir in
*/systemd/system) base=${unitdir%/systemd/system} ;;
*) base=/usr/lib ;;
esac
models=/var/lib/1bit-halo/models
conf=/etc/1bit-halo
docs=$prefix/share/doc/1bit-halo
binaries='bitnet_decode 1bit-halo-server 1bit-halo-mcp 1bit-halo-pkg'
units=$(cd "$here/systemd" && ls ./*.service | sed 's,^\./,,')

# discard TARGET: half of a file, where the disk is full; the old one stays.
discard() { rm -f "$dest$1.new"; echo "install.sh: $dest$1 could not be written" >&2; exit 1; }

# put MODE SOURCE TARGET: a copy with the paths of this installation filled in.
put() {
	mkdir -p "$dest$(dirname "$3")"
	sed "s|@PREFIX@|$prefix|g; s|@MODELS@|$models|g" "$2" > "$dest$3.new" || discard "$3"
	chmod "$1" "$dest$3.new"
	mv -f "$dest$3.new" "$dest$3"
}

# copy MODE SOURCE TARGET: the bytes; by rename, so that a program that runs or
# a model that is mapped keeps its old file.
copy() {
	mkdir -p "$dest$(dirname "$3")"
	cp "$2" "$dest$3.new" || discard "$3"
	chmod "$1" "$dest$3.new"
	mv -f "$dest$3.new" "$dest$3"
}

do_install() {
	for b in $binaries; do
		[ -x "$build/bin/$b" ] || { echo "install.sh: $build/bin/$b is missing: run make first" >&2; exit 2; }
	done
	for b in $binaries; do copy 755 "$build/bin/$b" "$prefix/bin/$b"; done
	for u in $units; do put 644 "$here/systemd/$u" "$unitdir/$u"; done
	put 644 "$here/sysusers.d/1bit-halo.conf" "$base/sysusers.d/1bit-halo.conf"
	put 644 "$here/tmpfiles.d/1bit-halo.conf" "$base/tmpfiles.d/1bit-halo.conf"
	for c in decode server mcp; do
		if [ -e "$dest$conf/$c.conf" ]; then
			echo "kept $dest$conf/$c.conf"
		else
			put 644 "$here/conf/$c.conf" "$conf/$c.conf"
		fi
	done
	mkdir -p "$dest$models"
	for m in "$root"/models/*.h1b; do
		[ -e "$m" ] && copy 644 "$m" "$models/$(basename "$m")"
	done
	for d in "$root"/docs/*.md "$root/LICENSE" "$root/NOTICE.md"; do
		[ -e "$d" ] && copy 644 "$d" "$docs/$(basename "$d")"
	done
	if [ -n "$dest" ]; then
		echo "Installed below $dest."
		return
	fi
	if command -v systemd-sysusers >/dev/null; then
		systemd-sysusers "$base/sysusers.d/1bit-halo.conf"
		systemd-tmpfiles --create "$base/tmpfiles.d/1bit-halo.conf"
	fi
	cat <<NEXT
Installed.  To start the stack, now and at every boot:

  systemctl daemon-reload
  systemctl enable --now 1bit-halo-gpu-perf 1bit-halo-bitnet 1bit-halo-server 1bit-halo-mcp
  curl -s 'http://127.0.0.1:8180/readyz?verbose'

Another model: change \`model\` in $conf/decode.conf, then systemctl restart 1bit-halo-bitnet.
NEXT
}

# Remove TARGET if it is still what install would write from SOURCE.
remove_unchanged() {
	[ -e "$dest$2" ] || return 0
	if sed "s|@PREFIX@|$prefix|g; s|@MODELS@|$models|g" "$1" | cmp -s - "$dest$2"; then
		rm -f "$dest$2"
	else
		echo "kept $dest$2: it was changed"
	fi
}

do_uninstall() {
	if [ -z "$dest" ] && [ -d /run/systemd/system ]; then
		# shellcheck disable=SC2086
		systemctl disable --now $units || true
		rm -rf /run/1bit-halo	# sockets of those that ended
	fi
	for b in $binaries; do rm -f "$dest$prefix/bin/$b"; done
	for u in $units; do rm -f "$dest$unitdir/$u"; done
	rm -f "$dest$base/sysusers.d/1bit-halo.conf" "$dest$base/tmpfiles.d/1bit-halo.conf"
	for c in decode server mcp; do
		remove_unchanged "$here/conf/$c.conf" "$conf/$c.conf"
	done
	for d in "$root"/docs/*.md "$root/LICENSE" "$root/NOTICE.md"; do
		rm -f "$dest$docs/$(basename "$d")"
	done
	rmdir "$dest$docs" "$dest$conf" 2>/dev/null || true
	echo "Removed.  What stays: models in $dest$(dirname $models), saved conversations in"
	echo "$dest$(dirname $models)-bitnet if there are any, and the user halo."
	[ -n "$dest" ] || echo "Now: systemctl daemon-reload"
}

case $action in
install) do_install ;;
uninstall) do_uninstall ;;
*) usage ;;
esac

#!/bin/sh
# Install the Debian packages that are missing.  usage: deps.sh build|demo|test|fuzz ...
# Says what it installs; uses sudo only when not root; does nothing, silently,
# when all is there.
set -eu

# Where there is an AMD GPU its kernels are built, too.
[ ! -e /dev/kfd ] || set -- "$@" gpu

packages=
for group in "$@"; do
	case $group in
	build) packages="$packages gcc make pkg-config libc6-dev libnng-dev libcivetweb-dev
	    libjansson-dev libsystemd-dev libpcre2-dev libutf8proc-dev libcurl4-openssl-dev" ;;
	demo) packages="$packages curl jq" ;;
	test) packages="$packages check curl jq nodejs npm systemd iproute2 util-linux
	    gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user clang-22 lld-22 g++" ;;
	gpu) packages="$packages clang-22 lld-22" ;;
	fuzz) packages="$packages clang libclang-rt-14-dev" ;;
	*) echo "deps.sh: unknown group '$group'" >&2; exit 2 ;;
	esac
done

# Elsewhere the packages have other names, and are there or the build says what is not.
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	# shellcheck disable=SC2086
	echo "This is not Debian.  What is needed, by Debian's names:" $packages
	exit 0
fi
missing=
for p in $packages; do
	if [ "$p" = nodejs ] || [ "$p" = npm ]; then
		command -v "${p%js}" >/dev/null 2>&1 && continue	# node from elsewhere is fine
	fi
	dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | grep -q '^ii' ||
		missing="$missing $p"
done
[ -z "$missing" ] && exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
	sudo=sudo
	command -v sudo >/dev/null || {
		echo "deps.sh: there is no sudo; as root: apt-get install$missing" >&2
		exit 1
	}
fi
echo "Installing from Debian:$missing"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null

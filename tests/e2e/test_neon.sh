#!/bin/sh
# The NEON kernels against scalar, under an emulator.  usage: test_neon.sh BUILD
cc=aarch64-linux-gnu-gcc
for tool in $cc qemu-aarch64; do
	command -v $tool >/dev/null || { echo "there is no $tool"; exit 77; }
done
out=$1/neon
kernels=services/decode/backend
mkdir -p "$out" || exit 1
objects=
for f in tests/neon/neon_kernels.c $kernels/cpu_neon*.c $kernels/cpu_scalar*.c \
    $kernels/cpu_kernels.c $kernels/cpu_scratch.c services/decode/model/packed.c \
    services/decode/model/base3.c common/err.c common/utf8.c; do
	case $f in */cpu_neon*) arch=-march=armv8.2-a+dotprod ;; *) arch= ;; esac
	o=$out/$(basename "$f" .c).o
	$cc -std=c17 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-psabi -Werror \
	    -ffp-contract=off -O2 -pthread -D_GNU_SOURCE $arch -Icommon -Iproto \
	    -Iservices/decode '-DCPU_VARIANTS(V)=V(neon) V(scalar)' -c -o "$o" "$f" || exit 1
	objects="$objects $o"
done
# shellcheck disable=SC2086
$cc -static -pthread -o "$out/neon_kernels" $objects -lm || exit 1
qemu-aarch64 -cpu max "$out/neon_kernels" || exit 1
# A processor without dot products is told so.
qemu-aarch64 -cpu cortex-a53 "$out/neon_kernels"
[ $? -eq 77 ] || { echo "without dot products: not refused"; exit 1; }

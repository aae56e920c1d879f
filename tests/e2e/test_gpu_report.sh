#!/bin/sh
# The compiler made of the GPU kernels what they were written for: no kernel spills,
# and those that multiply have dot products or matrix instructions, and wide loads.
set -eu
if ! command -v "${HIPCC:-clang-22}" >/dev/null; then
	echo "no clang-22"
	exit 77
fi
report=$(tools/gpu-report.sh) || { echo "$report"; exit 1; }
# The report itself can fail: a kernel without what it needs is named.
for k in gpu_gemv_set_1 gpu_gemm_set gpu_head_i8_1 gpu_attend; do
	[ "$(echo "$report" | grep -c "^$k ")" -eq 2 ] || { echo "$k is missing"; exit 1; }
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/tools" "$dir/services" "$dir/services/decode"
cp tools/gpu-report.sh "$dir/tools"
cp -r services/decode/kernels "$dir/services/decode"
sed -i 's/__builtin_amdgcn_sudot4(false, (int)u, true, (int)s, c, false)/(int)(u * s) + c/' \
    "$dir/services/decode/kernels/target_amd.h"
if out=$("$dir/tools/gpu-report.sh" gfx1151); then
	echo "a GEMV without dot4 was not noticed"
	exit 1
fi
case $out in
*"gpu_gemv_set_1 has too few dot4"*) ;;
*) echo "$out"; exit 1 ;;
esac

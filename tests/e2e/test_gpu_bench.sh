#!/bin/sh
# gpu_bench on the emulator: every measurement runs and prints finite figures; what they
# are says nothing there.
build=$1
bench=$build/bin/gpu_bench
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
if [ ! -x "$bench" ] || [ ! -e "$build/gpu/sm90/libamdhip64.so.7" ]; then
	echo "not run: no code for a GPU in this build"
	exit 77
fi
fail() {
	echo "$*"
	cat "$out"
	exit 1
}

# What the sanitizers do not know is coroutines; the emulator of one target is enough here.
for target in gfx11 sm90; do
	LD_LIBRARY_PATH=$build/gpu/$target timeout 300 "$bench" --small >"$out" 2>&1 ||
	    fail "gpu_bench fails on $target"
	for what in gpu_measure_read gpu_measure_copy gpu_gemv_set_1 gpu_gemv_add_8 \
	    gpu_gemv_gate_4 gpu_gemm_gate "last rows" "one block a head" gpu_top_keys \
	    "empty launch"; do
		grep -q "$what" "$out" || fail "$target: no line of $what"
	done
	! grep -Eq 'nan|inf ' "$out" || fail "$target: a figure that is none"
done
# The model of time has a line for each device, way and depth.
[ "$(tools/gpu-model.sh | grep -Ec '^(H200|gfx1151|gfx1201) +(launches|whole) ')" = 18 ] ||
    fail "not three devices, two ways and three depths"
tools/gpu-model.sh q5 >"$out" 2>&1 && fail "a head of q5"
# What is not there is not measured.
"$bench" nonsense >"$out" 2>&1 && fail "what is not there is measured"
"$bench" --runs x >"$out" 2>&1 && fail "--runs x is taken"
"$bench" --help >"$out" 2>&1 || fail "--help fails"
grep -q -- --weights-mib "$out" || fail "--help without options"

#!/bin/sh
# What the compiler has made of the GPU kernels: registers, shared memory, spills,
# waves that fit, and the instructions that decide.  usage: gpu-report.sh [TARGET...]
#
# Exit status 1 if a kernel spills, or one that multiplies lacks the instruction for it.
set -eu
cd "$(dirname "$0")/.."
compiler=${HIPCC:-clang-22}
[ $# -gt 0 ] || set -- gfx1151 gfx1201
status=0
for target in "$@"; do
	echo "$target"
	"$compiler" -x hip --offload-arch="$target" --cuda-device-only -nogpulib -nogpuinc \
	    -std=c++17 -O3 -ffp-contract=off -Iservices/decode/kernels -S -o - \
	    services/decode/kernels/all.hip | awk -v target="$target" '
	/^gpu_[a-z0-9_]+:/ { kernel = $1; sub(":", "", kernel) }
	/^\t[vsdgb][a-z0-9_]+/ { size[kernel]++ }
	/^\tv_dot4/ { dots[kernel]++ }
	/^\tv_wmma/ { wmma[kernel]++ }
	/^\tglobal_load_b128/ { wide[kernel]++ }
	/^    \.group_segment_fixed_size:/ { lds = $2 }
	/^    \.name:/ { name = $2; names[++n] = name; shared[name] = lds }
	/^    \.private_segment_fixed_size:/ { stack[name] = $2 }
	/^    \.sgpr_count:/ { sgprs[name] = $2 }
	/^    \.vgpr_count:/ { vgprs[name] = $2 }
	/^    \.[sv]gpr_spill_count:/ { spills[name] += $2 }
	# gfx11 with 1536 registers a lane and gfx12 likewise, in steps of 24; 16 waves.
	function waves(v,    w) {
		w = int(1536 / (int((v + 23) / 24) * 24))
		return w > 16 ? 16 : w
	}
	END {
		printf "%-18s %5s %5s %6s %6s %6s %6s %6s %6s %6s\n", "kernel", "VGPR",
		    "SGPR", "LDS", "spills", "stack", "waves", "dot4", "WMMA", "b128"
		for (i = 1; i <= n; i++) {
			k = names[i]
			printf "%-18s %5d %5d %6d %6d %6d %6d %6d %6d %6d\n", k, vgprs[k],
			    sgprs[k], shared[k], spills[k], stack[k], waves(vgprs[k]),
			    dots[k], wmma[k], wide[k]
			if (spills[k] > 0 || stack[k] > 0)
				bad = bad "  " k " spills\n"
			if (k ~ /_gemv_|_head_(i8|q4|q6)_/ && (dots[k] < 16 || !wide[k]))
				bad = bad "  " k " has too few dot4 or no 16-byte loads\n"
			if (k ~ /_gemm_|_attend(_rows)?$/ && k !~ /measure/ && (!wmma[k] || !wide[k]))
				bad = bad "  " k " has no WMMA or no 16-byte loads\n"
		}
		if (n == 0)
			bad = "  no kernels\n"
		if (bad != "") {
			printf "%s:\n%s", target, bad
			exit 1
		}
	}' || status=1
done
exit $status

#!/bin/sh
# What a decode step should take on a GPU, from what its parts cost; beside it what was
# measured.  usage: gpu-model.sh [i8|q6|q4|f16] (the head; i8)
#
#	ms a token = (weights + head) / read + KV cache / attend + phases * phase + step
#
# A phase is what waits for the one before: five a layer, the embedding, norm and head.
# Every figure of this table is an input:
#	read	GB/s at which the device reads its memory (gpu_bench memory)
#	attend	GB/s that attention adds with depth (gpu_bench attention, 64 to 2048)
#	phase	us that a phase takes beside its bytes: launch or exchange, ramp, rows
#	step	us a token outside of all that: the host, the copy of what is wanted
# H200, launches: the mean of what gpu_bench gemv and attention have for the five launches of
# a layer (3.5 to 7.2 us), less their bytes.  Of the 4.8 an empty launch has 0.7 to 1.1.
# whole: fitted to --bench at depth 64, so it predicts only the deeper ones.  gfx1151 gives 197 to
# 228 GB/s of 256 where others measured it, gfx1201 is taken at 84 % of 640; what a phase costs
# there nobody has measured: 4.5 us is a launch of an MI300X, 1 to 2 us an exchange between its
# blocks, and a ramp of about 1.5 us comes to both.
devices='
H200     launches 4607 1000 4.8  20
H200     whole    4607 1000 4.8  20
gfx1151  launches  220  150 6.0  30
gfx1151  whole     220  150 3.0  30
gfx1201  launches  540  300 6.0  30
gfx1201  whole     540  300 3.0  30
'
# Of --bench with an int8 head: tokens a second at that depth
# (docs/benchmarks/h200-2026-11-23-c.txt).
measured='
H200 launches   64 1074
H200 launches 1024 907
H200 launches 2048 853
H200 whole      64 1063
H200 whole    1024 1008
H200 whole    2048 840
'
# Layers, hidden, ffn, heads, kv heads, dim, vocabulary: BitNet b1.58 2B4T.
shape='30 2560 6912 20 5 128 128256'
depths='64 1024 2048'

head=${1:-i8}
case $head in i8 | q6 | q4 | f16) ;; *) sed -n '2,3s/^# //p' "$0" >&2; exit 1 ;; esac
awk -v devices="$devices" -v measured="$measured" -v shape="$shape" -v depths="$depths" \
    -v head="$head" '
# Bytes of rows of 2-bit codes in whole blocks of 256 columns, with a factor each.
function ternary(rows, columns) {
	return rows * (int((columns + 255) / 256) * 64 + 4)
}
BEGIN {
	split(shape, s, " ")
	layers = s[1]; hidden = s[2]; ffn = s[3]; heads = s[4]; kv = s[5]; dim = s[6]
	bits["i8"] = 8; bits["q6"] = 6; bits["q4"] = 4; bits["f16"] = 16
	body = ternary((heads + 2 * kv) * dim, hidden) + ternary(hidden, heads * dim)
	body = layers * (body + ternary(2 * ffn, hidden) + ternary(hidden, ffn))
	last = s[7] * (hidden * bits[head] / 8 + (head == "f16" ? 0 : 4))
	phases = 5 * layers + 3
	n = split(measured, m, "\n")
	for (i = 1; i <= n; i++)
		if (split(m[i], f, " ") == 4)
			was[f[1], f[2], f[3]] = f[4]
	printf "%-8s %-8s %5s %7s %7s %6s %7s %7s %8s %6s %9s %6s\n", "device", "way",
	    "depth", "MB", "ms read", "phases", "ms them", "ms all", "tok/s", "bound",
	    "measured", "off"
	n = split(devices, d, "\n")
	n_depths = split(depths, at, " ")
	for (i = 1; i <= n; i++) {
		if (split(d[i], f, " ") != 6)
			continue
		for (j = 1; j <= n_depths; j++) {
			cache = 2 * 2 * kv * dim * layers * at[j]
			bytes = (body + last) / f[3] / 1e6 + cache / f[4] / 1e6
			all = bytes + phases * f[5] / 1e3 + f[6] / 1e3
			bound = (body + last + cache) / f[3] / 1e6
			w = head == "i8" ? was[f[1], f[2], at[j]] : 0
			printf "%-8s %-8s %5d %7.1f %7.2f %6d %7.2f %7.2f %8.0f %5.0f%% " \
			    "%9s%s\n", f[1], f[2], at[j], (body + last + cache) / 1e6,
			    bytes, phases, phases * f[5] / 1e3, all, 1e3 / all,
			    100 * bound / all, w ? w : "-",
			    w ? sprintf(" %+5.0f%%", 100 * (1e3 / all / w - 1)) : ""
		}
	}
}'

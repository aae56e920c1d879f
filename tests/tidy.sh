#!/bin/sh
# The few hard rules of the house style.  usage: tidy.sh FILE...
# A line has at most 100 columns (a tab counts 8) and no blanks at its end; a
# function at most 70 lines, a .c or .hip file at most 500; nothing is left to do.
[ $# -gt 0 ] || { echo "tidy: no files given" >&2; exit 2; }
awk '
function bad(what) { printf "%s:%d: %s\n", FILENAME, FNR, what; n++ }
function check_size() { if (file ~ /\.(c|hip)$/ && lines > 500) { printf "%s: %d lines, more than 500\n", file, lines; n++ } }
FNR == 1 { check_size(); file = FILENAME; lines = 0; open = 0 }
{
	lines++; t = $0
	while ((i = index(t, "\t")) > 0)
		t = substr(t, 1, i - 1) substr("        ", 1, 8 - (i - 1) % 8) substr(t, i + 1)
	if (length(t) > 100) bad("more than 100 columns")
}
/[ \t]$/ { bad("blanks at the end") }
/TO[D]O|FI[X]ME|X[X]X/ { bad("something is left to do") }
/^\{/ { open = FNR }
/^\}/ { if (open && FNR - open - 1 > 70) bad("function of " FNR - open - 1 " lines"); open = 0 }
END { check_size(); exit n > 0 }
' "$@"

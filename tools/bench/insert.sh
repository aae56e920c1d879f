#!/bin/sh
# Replace what stands between the markers of a file with stdin.  usage: insert.sh FILE <TEXT
# Nothing is changed if there is no text or the markers are not there.
set -eu
file=$1
text=$(cat)
[ -n "$text" ] || { echo "insert.sh: nothing to insert" >&2; exit 1; }
begin='<!-- from here on: make bench -->' end='<!-- to here: make bench -->'
for marker in "$begin" "$end"; do
	grep -qxF -e "$marker" "$file" || { echo "insert.sh: $file has no line '$marker'" >&2; exit 1; }
done
printf '%s\n' "$text" | awk -v begin="$begin" -v end="$end" '
	NR == FNR { text = text $0 "\n"; next }
	$0 == end { skip = 0; printf "\n%s\n", text }
	!skip { print }
	$0 == begin { skip = 1 }' - "$file" >"$file.part"
mv "$file.part" "$file"

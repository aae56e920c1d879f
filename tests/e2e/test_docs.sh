#!/bin/sh
# Runs what README.md and docs/ show: every ```sh block after a line
# `<!-- test -->`, with the documented ports replaced by those of a running
# stack and the programs by those just built.  A block fails when a command in
# it fails, or when curl gets an error it did not ask for (-f is added).
. tests/e2e/stack.sh
set -e
stack_start "$1"
mkdir "$scratch/blocks"
awk -v out="$scratch/blocks" '
FNR == 1 { inside = wanted = 0 }
/^<!-- test -->$/ { wanted = 1; next }
/^```sh$/ && wanted { inside = 1; n++; name = sprintf("%s/%03d", out, n); print "# " FILENAME ":" FNR > name; next }
/^```$/ && inside { inside = wanted = 0; close(name); next }
inside { print > name }
' README.md docs/*.md
n=0
for block in "$scratch"/blocks/*; do
	[ -e "$block" ] || die "no documented command was found"
	sed -e "s,http://127.0.0.1:8080,$decode,g; s,http://localhost:8080,$decode,g" \
	    -e "s,http://127.0.0.1:8180,$gateway,g; s,http://localhost:8180,$gateway,g" \
	    -e "s,http://127.0.0.1:8181,$mcp,g; s,http://localhost:8181,$mcp,g" \
	    -e "s,/run/1bit-halo,$run,g; s,/tmp/,$scratch/,g" \
	    -e 's,\bcurl -,curl --fail-with-body -,' "$block" >"$block.sh"
	PATH=$PWD/$build/bin:$PATH sh -e "$block.sh" >"$block.out" 2>&1 </dev/null || {
		cat "$block.sh" "$block.out"
		die "$(head -n 1 "$block") failed"
	}
	[ -s "$block.out" ] || die "$(head -n 1 "$block") printed nothing"
	n=$((n + 1))
done
echo "ok   $n documented commands"

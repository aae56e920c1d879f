#!/bin/sh
# docs/protocol.md is what the lists in proto/ say.  usage: test_protocol_doc.sh BUILD
set -eu
build=$1
new=$build/protocol.md.new
mkdir -p "$build"
${MAKE:-make} --no-print-directory "B=$build" "$build/bin/proto_doc" >/dev/null
"$build/bin/proto_doc" > "$new"
if ! diff -u docs/protocol.md "$new"; then
	echo "docs/protocol.md is out of date: run 'make doc'"
	exit 1
fi
rm -f "$new"

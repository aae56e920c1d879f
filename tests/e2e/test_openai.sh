#!/bin/sh
# The official openai client for Node against the real stack.
. tests/e2e/npm.sh
. tests/e2e/stack.sh
stack_start "$1"
node tests/e2e/openai.mjs "$gateway" || exit 1
for log in gateway decode; do
	grep -q 'request=mine.1 ' "$scratch/$log.log" || die "a request's id is not in the log of the $log"
done
echo "ok   a request's id is in the logs of both"

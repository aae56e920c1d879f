#!/bin/sh
# The official openai client for Node against the real stack.
if [ ! -d tests/e2e/node_modules/openai ]; then
	(cd tests/e2e && npm install --no-package-lock --no-audit --no-fund \
	    --ignore-scripts --silent) || {
		echo "npm cannot install the openai client"
		[ -n "${CI:-}" ] && exit 1
		exit 77
	}
fi
. tests/e2e/stack.sh
stack_start "$1"
node tests/e2e/openai.mjs "$gateway"

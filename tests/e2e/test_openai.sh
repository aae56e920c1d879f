#!/bin/sh
# The official openai client for Node against the real stack.
. tests/e2e/npm.sh
. tests/e2e/stack.sh
stack_start "$1"
node tests/e2e/openai.mjs "$gateway"

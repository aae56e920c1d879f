#!/bin/sh
# The Vercel AI SDK and the requests of Open WebUI against the real stack.
. tests/e2e/npm.sh
. tests/e2e/stack.sh
stack_start "$1"
node tests/e2e/vercel.mjs "$gateway" && node tests/e2e/openwebui.mjs "$gateway"

#!/bin/sh
# The long form of what `make check` does with hostile input: ten times the damaged
# requests and floods, then the fuzz targets of HTTP and JSON.  usage: hostile.sh [BUILD [RUNS]]
set -eu
build=${1:-build} runs=${2:-1000000}
make B="$build" "$build/bin/1bit-halo-server" "$build/tests/process/test_gateway_hostile" \
    build-fuzz/fuzz_http build-fuzz/fuzz_json build-fuzz/fuzz_openai
HOSTILE_LONG=1 "$build/tests/process/test_gateway_hostile"
tests/fuzz/run.sh "$runs" build-fuzz/fuzz_http build-fuzz/fuzz_json build-fuzz/fuzz_openai

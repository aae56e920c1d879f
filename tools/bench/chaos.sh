#!/bin/sh
# Kill the worker during load, again and again, with another seed each round:
# every text must be that of an undisturbed run.  A line for each round; ends with
# 1 as soon as one text differs or a request is lost.
# usage: chaos.sh BUILD [ROUNDS [REQUESTS [KILLS]]]
build=${1:-build} rounds=${2:-5} requests=${3:-200} kills=${4:-40}
test=$build/tests/process/test_gateway_chaos
[ -x "$test" ] || { echo "chaos: no $test: make tests" >&2; exit 1; }
for seed in $(seq "$rounds"); do
	out=$(CHAOS_STREAMS=$requests CHAOS_KILLS=$kills CHAOS_SEED=$seed "$test") || {
		echo "$out"
		exit 1
	}
	echo "seed=$seed $(echo "$out" | grep '^requests=')"
done

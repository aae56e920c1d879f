#!/bin/sh
# Run fuzz targets over their corpus.  usage: run.sh RUNS TARGET...
# New inputs go to a scratch directory; a finding is left in build-fuzz/ and
# ends the run with status 1.  FUZZ_SEED fixes the mutations (CI does, so that its
# result says something of the change and not of its luck).
set -eu
runs=$1
shift
for target in "$@"; do
	name=$(basename "$target" | sed 's/^fuzz_//')
	scratch=build-fuzz/corpus-$name
	mkdir -p "$scratch" "tests/fuzz/corpus/$name"
	dict=tests/fuzz/$name.dict
	echo "fuzz $name: $runs runs"
	"$target" -runs="$runs" -max_len=65536 -timeout=10 -rss_limit_mb=1024 \
	    -seed="${FUZZ_SEED:-0}" -print_final_stats=0 -verbosity=0 -artifact_prefix="build-fuzz/$name-" \
	    $( [ -e "$dict" ] && echo "-dict=$dict" ) "$scratch" "tests/fuzz/corpus/$name"
done

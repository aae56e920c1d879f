#!/bin/sh
# Run fuzz targets over their corpus, one for each processor at a time.
#
#	run.sh RUNS TARGET...
#
# New inputs go to a scratch directory; a finding is left in build-fuzz/, and the status
# is not 0 then.  FUZZ_SEED fixes the mutations (CI does, so that its result says
# something of the change and not of its luck).
#
#	run.sh --one RUNS TARGET
#
# is one of them: what it says comes when it has ended.
set -eu
if [ "$1" != --one ]; then
	runs=$1
	shift
	printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 "$0" --one "$runs"
	exit
fi
runs=$2 target=$3
name=$(basename "$target" | sed 's/^fuzz_//')
scratch=build-fuzz/corpus-$name said=build-fuzz/$name.log
mkdir -p "$scratch" "tests/fuzz/corpus/$name"
dict=tests/fuzz/$name.dict
status=0
"$target" -runs="$runs" -max_len=65536 -timeout=10 -rss_limit_mb=1024 \
    -seed="${FUZZ_SEED:-0}" -print_final_stats=0 -verbosity=0 -artifact_prefix="build-fuzz/$name-" \
    $( [ -e "$dict" ] && echo "-dict=$dict" ) "$scratch" "tests/fuzz/corpus/$name" \
    >"$said" 2>&1 || status=1
[ $status -eq 0 ] || cat "$said"
echo "fuzz $name: $runs runs, status $status"
exit $status

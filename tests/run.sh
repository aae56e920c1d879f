#!/bin/sh
# Run the tests, two at once: many of them wait more than they compute.
#
#	run.sh BUILD "SOURCES" TEST...
#
# Unit and process tests are programs; e2e tests are tests/e2e/test_*.sh, which
# get the build directory and exit 77 to skip, with the reason on stdout.
# $TESTS_ONLY keeps only those whose name contains it; $TESTS_JOBS, 1: one at a
# time.
#
#	run.sh --one RESULTS BUILD TEST
#
# is one of them: what it says comes when it has ended, so that lines of two
# tests are not mixed.
run_one() {
	results=$1 build=$2 name=$3 start=$(date +%s)
	out=$results/$(echo "$name" | tr / _)
	case $name in
	*.sh) "$name" "$build" ;;
	*) "$name" ;;
	esac >"$out.out" 2>&1 </dev/null
	status=$?
	case $status in
	0) ;;
	77) echo "skipped: $name" >>"$out.out" ;;
	*) echo "FAILED: $name" >>"$out.out" ;;
	esac
	cat "$out.out"
	echo "$status $(($(date +%s) - start)) $name" >"$out.result"
}

if [ "$1" = --one ]; then
	run_one "$2" "$3" "$4"
	exit 0
fi
build=$1 sources=$2
shift 2
results=$(mktemp -d "${TMPDIR:-/tmp}/1bit-tests.XXXXXX") || exit 1
trap 'rm -rf "$results"' EXIT
trap 'exit 130' INT TERM
tidy() {
	status=0
	# shellcheck disable=SC2086
	tests/tidy.sh $sources || status=1
	[ $status -eq 0 ] || echo "FAILED: tidy"
	echo "$status 0 tidy" >"$results/tidy.result"
}

# shellcheck disable=SC2194
case tidy in *"${TESTS_ONLY:-}"*) tidy ;; esac
# The longest are among the e2e tests: none of them should be left over at the end.
for t in tests/e2e/test_*.sh "$@"; do
	case $t in *"${TESTS_ONLY:-}"*) [ ! -e "$t" ] || echo "$t" ;; esac
done | xargs -r -P "${TESTS_JOBS:-2}" -n 1 "$0" --one "$results" "$build"
cat "$results"/*.result 2>/dev/null | sort -k 2nr | awk '
	$1 == 0 { passed++ }
	$1 == 77 { skipped++ }
	$1 != 0 && $1 != 77 { failed++; failures = failures " " $3 }
	NR <= 10 && $2 >= 5 { slow = slow sprintf("  %4d s  %s\n", $2, $3) }
	END {
		if (slow != "")
			printf "the longest:\n%s", slow
		if (failures != "")
			print "failed:" failures
		printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
		exit failed > 0 || passed == 0
	}'

#!/bin/sh
# Run the tests, three at once: many of them wait more than they compute.
#
#	run.sh BUILD "SOURCES" TEST...
#
# Unit and process tests are programs; e2e tests are tests/e2e/test_*.sh, which
# get the build directory and exit 77 to skip, with the reason on stdout.
# $TESTS_ONLY keeps only those whose name contains it; $TESTS_JOBS, 1: one at a
# time.  A test has $TESTS_LIMIT seconds, 900, to its end; what a test case of Check
# has is ten times what it says, since a machine may be slow and sanitizers are.
#
#	run.sh --one RESULTS BUILD TEST
#
# is one of them: what it says comes when it has ended, so that lines of two
# tests are not mixed.
run_one() {
	results=$1 build=$2 name=$3 start=$(date +%s)
	out=$results/$(echo "$name" | tr / _)
	case $name in */tests/process/*)
		export LSAN_OPTIONS="${LSAN_OPTIONS:-suppressions=tests/lsan.supp:print_suppressions=0}"
	esac
	case $name in
	*.sh) timeout --foreground -k 10 "${TESTS_LIMIT:-900}" "$name" "$build" ;;
	*) timeout --foreground -k 10 "${TESTS_LIMIT:-900}" "$name" ;;
	esac >"$out.out" 2>&1 </dev/null
	status=$?
	case $status in
	0) ;;
	77) echo "skipped: $name" >>"$out.out" ;;
	124 | 137) echo "FAILED: $name had no end, or was killed" >>"$out.out" ;;
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
# The longest first: none of them should be left over at the end.
long='/test_(gpu|bus_faults|attention|gateway_resume|gpu_report|neon)([.]sh)?$'
export CK_TIMEOUT_MULTIPLIER="${CK_TIMEOUT_MULTIPLIER:-10}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-suppressions=tests/tsan.supp}"
for t in tests/e2e/test_*.sh "$@"; do
	case $t in *"${TESTS_ONLY:-}"*) [ ! -e "$t" ] || echo "$t" ;; esac
done | awk -v long="$long" '$0 ~ long { print; next } { rest = rest $0 "\n" } END { printf "%s", rest }' |
	xargs -r -P "${TESTS_JOBS:-3}" -n 1 "$0" --one "$results" "$build"
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

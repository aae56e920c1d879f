#!/bin/sh
# Run the tests.  usage: run.sh BUILD "SOURCES" TEST...
# Unit and process tests are programs; e2e tests are tests/e2e/test_*.sh, which
# get the build directory and exit 77 to skip, with the reason on stdout.
# $TESTS_ONLY keeps only those whose name contains it.
build=$1 sources=$2
shift 2
passed=0 failed=0 skipped=0 failures=

run() {
	name=$1
	shift
	case $name in *"${TESTS_ONLY:-}"*) ;; *) return ;; esac
	"$@"
	case $? in
	0) passed=$((passed + 1)) ;;
	77) skipped=$((skipped + 1)); echo "skipped: $name" ;;
	*) failed=$((failed + 1)); failures="$failures $name"; echo "FAILED: $name" ;;
	esac
}

# shellcheck disable=SC2086
run tidy tests/tidy.sh $sources
for t in "$@"; do
	run "$t" "$t"
done
for t in tests/e2e/test_*.sh; do
	[ -e "$t" ] && run "$t" "$t" "$build"
done
[ -z "$failures" ] || echo "failed:$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]

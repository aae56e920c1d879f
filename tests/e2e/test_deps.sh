#!/bin/sh
# tools/deps.sh where it cannot install: it says what is needed, and the build may try.
set -eu
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
fail() { echo "test_deps: $*" >&2; exit 1; }

said=$(PATH=$t /bin/sh tools/deps.sh build demo) || fail "another system is an error"
case $said in
*'not Debian'*libnng-dev*jq*) ;;
*) fail "another system is told '$said'" ;;
esac

# Debian without sudo, and nothing there.
for c in apt-get dpkg-query grep; do
	printf '#!/bin/sh\nexit 1\n' >"$t/$c"
	chmod +x "$t/$c"
done
printf '#!/bin/sh\necho 1000\n' >"$t/id"
chmod +x "$t/id"
! said=$(PATH=$t /bin/sh tools/deps.sh demo 2>&1) || fail "nothing was missing"
case $said in
*'no sudo; as root: apt-get install curl jq') ;;
*) fail "without sudo it says '$said'" ;;
esac

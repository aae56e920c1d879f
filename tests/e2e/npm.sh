# Sourced by the tests that need packages of npm: those of package-lock.json, once.
if ! cmp -s tests/e2e/package-lock.json tests/e2e/node_modules/.installed; then
	(cd tests/e2e && npm ci --no-audit --no-fund --ignore-scripts --silent) || {
		echo "npm cannot install the official clients"
		[ -n "${CI:-}" ] && exit 1
		exit 77
	}
	cp tests/e2e/package-lock.json tests/e2e/node_modules/.installed
fi

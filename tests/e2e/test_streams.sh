#!/bin/sh
# A thousand streams at once: none is refused, cut or short of a token, in 150 MB.
# How fast they are is for make bench-gateway.
make --no-print-directory B="$1" "$1/bin/streams" >/dev/null || exit 1
said=$("$1/bin/streams" --streams 1000 --tokens 20 --rate 5 --json "$1/bin/1bit-halo-server" 2>/dev/null)
echo "$said" | jq -e '.done == 1000 and .cut == 0 and .refused == 0 and .short == 0 and .rss_mb < 150' >/dev/null || {
	echo "FAIL a thousand streams: $said"
	exit 1
}
echo "ok   a thousand streams at once"

#!/usr/bin/env bash
# Makes docs/images/demo.png: plays the demo and photographs what it printed. Rows are left out where ⋮ stands, and
# tables are cut at the right edge; no character is changed. Needs chromium and a monospaced font (DejaVu).
#
#   make sim build && docs/images/demo.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
args="--once --seed 7 --start 2026-03-01T00:00:00Z"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# shellcheck disable=SC2086
bin/wattledger demo $args --data "$tmp/data" --out "$tmp/out" --clickhouse-listen 127.0.0.1:0 --kafka-listen 127.0.0.1:0 \
  >"$tmp/stdout" 2>"$tmp/stderr"

table() { awk -v t="$1" '$0 ~ "^" t {on = 1} on {print} on && /^└/ {exit}' "$tmp/stdout"; }
{
  echo "\$ make demo ARGS=\"$args\""
  grep ' done' "$tmp/stderr"
  echo
  table Fleet | awk '/fr-demo/ && ++fr > 3 && !/unallocated|held_idle/ {if (fr == 4) print "⋮"; next}
    /se-demo/ && ++se > 2 && !/unallocated|held_idle/ {if (se == 3) print "⋮"; next} {print}'
  grep -m 1 '  The entries agree with what was sealed' "$tmp/stdout"
  echo
  table 'Effectiveness by site'
  echo
  table Tenants
  echo
  grep -m 1 'Violation of' "$tmp/stdout"
  echo
  sed "s|$tmp/out|demo-out|" "$tmp/stdout" | sed -n '/^Proof/,/^Written/p'
  echo
  echo '$ cat demo-out/tenants/fictional-bank/invoice.txt'
  sed -n '1p;/^line /,/to pay/p' "$tmp/out/tenants/fictional-bank/invoice.txt"
} | sed 's/&/\&amp;/g; s/</\&lt;/g' | sed -E \
  -e 's|^(\$ .*)|<b class="c">\1</b>|' -e 's|^([A-Z][a-z]+ ?[A-Za-z0-9, :-]* done.*)|<i>\1</i>|' \
  -e 's|^((Fleet\|Effectiveness\|Tenants\|INVOICE).*)|<b>\1</b>|' -e 's|^(Proof    )|<b class="g">\1</b>|' -e 's|(energy residual 0 mJ, device time residual 0 ms)|<b class="g">\1</b>|' \
  -e 's|^(  Violation of SV-03)|<b class="r">\1</b>|' -e 's|([│┌─┬┐├┼┤└┴┘]+)|<i>\1</i>|g' >"$tmp/body"

lines=$(wc -l <"$tmp/body")
cat >"$tmp/page.html" <<H
<!doctype html><meta charset="utf-8"><style>
body{margin:0;background:#10151c;color:#d5dde6}
pre{margin:14px 18px;width:1010px;overflow:hidden;font:13.3px/17px "DejaVu Sans Mono",monospace;white-space:pre;-webkit-mask-image:linear-gradient(90deg,#000 95%,transparent)}
i{font-style:normal;color:#5d6b7c} b{color:#fff} .c{color:#8fd0ff} .g{color:#7fdc8f} .r{color:#ff9d8a}
</style><pre>$(cat "$tmp/body")</pre>
H
chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync \
  --user-data-dir="$tmp/profile" --hide-scrollbars --force-device-scale-factor=1.5 \
  --screenshot="$tmp/demo.png" --window-size="1046,$((lines * 17 + 30))" "file://$tmp/page.html" 2>/dev/null
mv "$tmp/demo.png" docs/images/demo.png

#!/bin/sh
# Types, lint, format, import rules, dead code, side by side. Runs all of them, then says which failed.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root"
. scripts/env.sh

said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
names=
check() { # NAME COMMAND…
  name=$1
  shift
  names="$names $name"
  echo "$*" >"$said/$name.command"
  { "$@" >"$said/$name" 2>&1 && touch "$said/$name.passed"; } &
}

check types tsc --project .
check lint oxlint
check format oxfmt --check
check imports depcruise --cache .cache/depcruise --cache-strategy content --config .dependency-cruiser.mjs src workflows signing test scripts
check dead-code knip
wait

failed=
for name in $names; do
  if [ -e "$said/$name.passed" ]; then
    echo "✓ $name"
  else
    echo "✗ $name ($(cat "$said/$name.command"))"
    cat "$said/$name"
    failed="$failed $name"
  fi
done
if [ -n "$failed" ]; then
  echo "failed:$failed"
  exit 1
fi

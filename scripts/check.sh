#!/bin/sh
# Types, lint, format, import rules, dead code. Runs all of them, then says which failed.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root"
. scripts/env.sh

failed=
check() { # NAME COMMAND…
  name=$1
  shift
  if output=$("$@" 2>&1); then
    echo "✓ $name"
  else
    echo "✗ $name ($*)"
    printf '%s\n' "$output"
    failed="$failed $name"
  fi
}

check types tsc --project .
check lint oxlint
check format oxfmt --check
check imports depcruise --cache .cache/depcruise --cache-strategy content --config .dependency-cruiser.mjs src workflows signing test scripts
check dead-code knip

if [ -n "$failed" ]; then
  echo "failed:$failed"
  exit 1
fi

#!/bin/sh
# run.sh [--for test] FILE ARGS…: sets the machine up, then runs FILE with Kiln's Node.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root"
if [ "${1:-}" = --for ]; then
  sh scripts/setup.sh --for "$2"
  shift 2
else
  sh scripts/setup.sh
fi
. scripts/env.sh
exec node "$@"

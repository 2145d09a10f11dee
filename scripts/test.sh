#!/bin/sh
# Sets the machine up, checks the code, runs every test. Arguments go to vitest.
# The last line reads `N passed, N failed`; a failed step outside vitest counts as one failed.
set -u
root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root" || exit 3

finish() { # PASSED FAILED
  echo "$1 passed, $2 failed"
  [ "$2" -eq 0 ]
  exit
}

sh scripts/setup.sh --for test || finish 0 1
. scripts/env.sh

outside=0
sh scripts/check.sh || outside=1

# Tests start hundreds of Node processes; code that was read once is not read from its source again, as in bin/kiln.
NODE_COMPILE_CACHE=$root/.cache/compile
export NODE_COMPILE_CACHE

KILN_TEST_SUMMARY=$root/.cache/test-summary
export KILN_TEST_SUMMARY
rm -f "$KILN_TEST_SUMMARY"
vitest run "$@"
status=$?
# Two numbers. No file: vitest itself broke down. A non-zero exit that counted nothing is a failure too.
read -r passed failed <"$KILN_TEST_SUMMARY" || { passed=0 failed=1; }
[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
finish "$passed" $((failed + outside))

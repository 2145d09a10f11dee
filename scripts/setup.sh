#!/bin/sh
# Makes this machine ready for Kiln: checks first and adds only what is missing.
#
#   setup.sh             what Kiln itself needs
#   setup.sh --for test  also what only the tests need
#
# Everything it says goes to standard error. Exit codes: 0 ready, 2 usage, 3 something is missing
# that it cannot add, with the command that does.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root"

purpose=kiln
case "$*" in
  '') ;;
  '--for test') purpose=test ;;
  *)
    echo 'usage: setup.sh [--for test]' >&2
    exit 2
    ;;
esac

mkdir -p .cache/tools/bin
# Two runs in one clone wait for each other. Long-lived children must close descriptor 9.
exec 9>.cache/setup.lock
flock 9

added=0
report=
add() { # WHAT: says a step that changes the machine
  added=1
  echo "+ $1" >&2
}
have() { # WHAT: notes a requirement that holds
  report="$report$1
"
}
stop() { # WHAT FIX: ends the set-up
  echo "✗ $1" >&2
  echo "  fix: $2" >&2
  exit 3
}

for part in node programs debian docker temporal test-tools; do
  . "$root/scripts/setup/$part.sh"
done

ensure_node
ensure_programs
ensure_debian_packages "$purpose"
ensure_docker
ensure_temporal
if [ "$purpose" = test ]; then ensure_test_tools; fi

if [ "$added" = 1 ]; then
  printf '%s' "$report" | sed 's/^/✓ /' >&2
else
  printf '%s' "$report" | sed -e ':a' -e 'N' -e '$!ba' -e 's/\n/, /g' -e 's/^/✓ set up: /' >&2
fi

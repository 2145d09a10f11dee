# Node and the npm packages. Node itself is a package of a folder of its own (an optional one for each
# platform), so a machine with an older Node gets the locked one, and Kiln's image need not bring it twice.

ensure_node() {
  command -v node >/dev/null && command -v npm >/dev/null ||
    stop 'Node.js and npm are not on PATH' 'apt-get install -y nodejs npm'
  ensure_packages scripts/setup/node 'Node'
  ensure_packages . 'npm packages'
  . "$root/scripts/env.sh"
  node_version=$(node --version)
  node_major=${node_version#v}
  [ "${node_major%%.*}" -ge 24 ] ||
    stop "Node $node_version is too old and the npm registry has none for $(uname -m); wanted 24 or newer" \
      'install Node 24 and put it on PATH'
  have "Node ${node_version#v}"
}

# No lifecycle scripts: no package that Kiln uses needs one, and none of them is trusted with it.
ensure_packages() { # FOLDER WHAT
  if KILN_SETUP_ROOT=$1 node scripts/setup/packages-match.mjs; then return; fi
  add "installing $2 (npm ci)"
  if ! npm ci --prefix "$1" --ignore-scripts --no-progress --loglevel=error >.cache/npm.log 2>&1 9>&-; then
    head -n 20 .cache/npm.log >&2
    stop 'npm ci failed' "npm ci --prefix $1 --ignore-scripts"
  fi
}

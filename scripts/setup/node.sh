# Node and the npm packages. Node itself is one of the packages (an optional one for each platform),
# so a machine with an older Node gets the locked one by the same `npm ci`.

ensure_node() {
  command -v node >/dev/null && command -v npm >/dev/null ||
    stop 'Node.js and npm are not on PATH' 'apt-get install -y nodejs npm'
  if ! node scripts/setup/packages-match.mjs; then
    add 'installing npm packages (npm ci)'
    # No lifecycle scripts: no package that Kiln uses needs one, and none of them is trusted with it.
    if ! npm ci --ignore-scripts --no-progress --loglevel=error >.cache/npm.log 2>&1 9>&-; then
      head -n 20 .cache/npm.log >&2
      stop 'npm ci failed' 'npm ci --ignore-scripts'
    fi
  fi
  . "$root/scripts/env.sh"
  node_version=$(node --version)
  node_major=${node_version#v}
  [ "${node_major%%.*}" -ge 24 ] ||
    stop "Node $node_version is too old and the npm registry has none for $(uname -m); wanted 24 or newer" \
      'install Node 24 and put it on PATH'
  have "Node ${node_version#v}"
}

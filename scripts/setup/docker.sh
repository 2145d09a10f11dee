# A Docker Engine that answers. Where nothing does and no init system would start one, this starts
# dockerd. A daemon that it did not start is never stopped, restarted or reconfigured.

docker_socket=/var/run/docker.sock

ensure_docker() {
  if docker_answers; then return; fi
  [ "$docker_refusal" != 2 ] ||
    stop "this user may not open $docker_socket" 'sudo usermod -aG docker "$USER", then sign in again'
  [ -z "${DOCKER_HOST:-}" ] || stop "no Docker Engine answers at $DOCKER_HOST" 'start it, or unset DOCKER_HOST'
  if [ -d /run/systemd/system ]; then
    wait_for_docker 20 || stop 'systemd has not started Docker' 'systemctl start docker'
    return
  fi
  [ "$(id -u)" = 0 ] || stop 'no Docker Engine is running' 'run as root: sh scripts/setup.sh'
  if dockerd_runs; then
    wait_for_docker 60 || stop "a dockerd is running (pid $(cat /var/run/docker.pid)) but does not answer" \
      'read its log, or end it yourself'
    return
  fi
  start_dockerd
}

docker_answers() {
  docker_refusal=0
  docker_version=$(node scripts/setup/docker-version.mjs 2>/dev/null) || docker_refusal=$?
  [ "$docker_refusal" = 0 ] || return 1
  have "Docker Engine $docker_version"
}

wait_for_docker() { # SECONDS
  tries=$(($1 * 5))
  while [ "$tries" -gt 0 ]; do
    if docker_answers; then return 0; fi
    tries=$((tries - 1))
    sleep 0.2
  done
  return 1
}

# A pid file alone proves nothing: after a crash or a reboot its number may belong to any process.
is_process() { # PIDFILE NAME
  [ -s "$1" ] && [ "$(cat "/proc/$(cat "$1")/comm" 2>/dev/null)" = "$2" ]
}

dockerd_runs() {
  is_process /var/run/docker.pid dockerd
}

start_dockerd() {
  add 'starting dockerd (no init system starts it here)'
  # Left by a dead daemon, these make a new one refuse to start or wait for a containerd that is gone.
  rm -f /var/run/docker.pid
  is_process /var/run/docker/containerd/containerd.pid containerd || rm -f /var/run/docker/containerd/containerd.pid
  mkdir -p .cache/dockerd
  log=.cache/dockerd/dockerd.log
  # Live-restore: instances keep serving when the daemon stops or is replaced.
  setsid nohup dockerd --live-restore >"$log" 2>&1 </dev/null 9>&- &
  echo $! >.cache/dockerd/pid
  if ! wait_for_dockerd "$!"; then
    tail -n 20 "$log" >&2
    stop 'dockerd did not start' "read $log"
  fi
}

wait_for_dockerd() { # PID
  deadline=$(($(date +%s) + 60))
  while [ "$(date +%s)" -lt "$deadline" ]; do
    if docker_answers; then return 0; fi
    kill -0 "$1" 2>/dev/null || return 1
    sleep 0.2
  done
  return 1
}

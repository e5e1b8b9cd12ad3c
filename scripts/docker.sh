#!/usr/bin/env bash
# docker.sh: a Docker Engine for lain, on any Debian machine, with or without systemd.
#
#   docker.sh ensure [--dir DIR] [-- DOCKERD_FLAG...]
#       Makes sure that an engine answers and prints its address, for DOCKER_HOST:
#           export DOCKER_HOST=$(scripts/docker.sh ensure)
#       The first of these that answers, or can be made to, is taken:
#         1. the engine that DOCKER_HOST names        (not with --dir)
#         2. the one at /var/run/docker.sock          (not with --dir)
#         3. our own, whose data, socket, pid file and log are in DIR
#       Where the machine has no engine, Debian's `docker.io` is installed first.
#   docker.sh stop [--dir DIR] [--purge]
#       Ends our own engine with its containers, and takes back what it set up: bridge, firewall
#       rules, forwarding. --purge removes DIR too, with images and containers. Other engines are
#       left alone.
#   docker.sh status [--dir DIR]
#       Says which engine `ensure` would take; status 1 when none answers.
#
# DIR is $LAIN_DOCKER_DIR, or /var/lib/lain-docker. Needs root to install, start and stop.
set -euo pipefail

die() { echo "docker.sh: $*" >&2; exit 1; }
say() { echo "docker.sh: $*" >&2; }
usage() { sed -n '2,20p' "$0" | sed 's/^# \{0,1\}//'; }

default_socket=/var/run/docker.sock
dir=${LAIN_DOCKER_DIR:-/var/lib/lain-docker}
own_only= purge= flags=()

command=${1:-}
[ $# -gt 0 ] && shift
while [ $# -gt 0 ]; do
  case $1 in
    --dir) [ $# -gt 1 ] || die "--dir needs a directory"; dir=$2 own_only=1; shift 2 ;;
    --purge) purge=1; shift ;;
    --) shift; flags=("$@"); break ;;
    *) die "what is '$1'? (docker.sh help)" ;;
  esac
done
case $dir in
  /*) ;;
  *) dir=$PWD/$dir ;;
esac
socket=$dir/docker.sock

answers() { # ADDRESS: whether an engine answers there
  if command -v curl > /dev/null && [ "${1#unix://}" != "$1" ]; then
    [ "$(curl -s -m 5 --unix-socket "${1#unix://}" http://docker/_ping 2> /dev/null)" = OK ]
  else
    docker -H "$1" version > /dev/null 2>&1
  fi
}

need_root() {
  [ "$(id -u)" = 0 ] || die "needs root to $1; run: sudo $0 ${command}"
}

# --- installing -------------------------------------------------------------

install_engine() {
  need_root "install Docker Engine"
  command -v apt-get > /dev/null ||
    die "no dockerd and no apt-get here; install Docker Engine 20.10 or newer, then repeat"
  say "installing Docker Engine from Debian (docker.io)"
  local log packages
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq -o DPkg::Lock::Timeout=120 update > "$log" 2>&1 ||
    { tail -n 5 "$log" >&2; die "apt-get update failed; check the network and /etc/apt/sources.list"; }
  packages=(docker.io ca-certificates iptables iproute2)
  # Newer Debian releases keep the command line client in a package of its own.
  apt-cache show docker-cli > /dev/null 2>&1 && packages+=(docker-cli)
  apt-get -qq -y -o DPkg::Lock::Timeout=120 install --no-install-recommends "${packages[@]}" \
    > "$log" 2>&1 < /dev/null ||
    { tail -n 10 "$log" >&2; die "apt-get install ${packages[*]} failed"; }
  rm -f "$log"
}

# --- starting our own -------------------------------------------------------

# The pid in FILE, if that very process (pid and start time) still runs.
recorded() {
  local pid born stat
  [ -s "$1" ] && read -r pid born < "$1" || return 1
  stat=$(cat "/proc/$pid/stat" 2> /dev/null) || return 1
  stat=${stat##*) }
  [[ $stat != [ZX]* ]] && [ "$(echo "$stat" | cut -d' ' -f20)" = "$born" ] && echo "$pid"
}

# Whether PID is a process that was started for DIR.
ours() {
  [ -n "${1:-}" ] && tr '\0' '\n' 2> /dev/null < "/proc/$1/cmdline" | grep -qF "$dir/exec/"
}

record() { # PID FILE
  local stat
  stat=$(cat "/proc/$1/stat") && stat=${stat##*) }
  echo "$1 $(echo "$stat" | cut -d' ' -f20)" > "$2"
}

# Control groups are there on any machine with systemd; elsewhere they may have to be mounted.
mount_cgroups() {
  [ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/memory ] && return
  mount -t cgroup2 cgroup2 /sys/fs/cgroup 2> /dev/null ||
    die "control groups are not mounted and cannot be; run on a machine with cgroup v1 or v2"
}

# A bridge of our own: docker0 belongs to the engine at $default_socket.
make_bridge() {
  local seed n subnet
  seed=$(echo "$dir" | cksum | cut -d' ' -f1)
  bridge=lain$(printf '%08x' "$seed")
  [ -s "$dir/bridge" ] && ip link show "$bridge" > /dev/null 2>&1 && return
  for ((n = 0; n < 104; n++)); do
    subnet=172.$((18 + (seed + n) / 8 % 13)).$(((seed + n) % 8 * 32))
    # A taken subnet shows as a route, or as the address of an interface that is down.
    ip -4 -o addr show | grep -qF " $subnet." && continue
    ip -4 route show | grep -qF "$subnet." && continue
    echo "$bridge $subnet" > "$dir/bridge"
    ip link add "$bridge" type bridge
    ip addr add "$subnet.1/24" dev "$bridge"
    ip link set "$bridge" up
    return
  done
  die "no free subnet in 172.18.0.0 to 172.30.255.255 for the bridge"
}

# Control groups of our own, so that `stop` can take them back. systemd wants to manage its own.
cgroup_flags() {
  [ -d /run/systemd/system ] || echo "--cgroup-parent=/$bridge"
}

remove_cgroups() {
  local group
  [ -n "$bridge" ] || return 0
  for group in /sys/fs/cgroup/"$bridge" /sys/fs/cgroup/*/"$bridge"; do
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2> /dev/null || true
  done
}

# What the engine will change in the firewall and in forwarding, to be taken back by `stop`.
remember_network() {
  [ -e "$dir/network.before" ] && return
  {
    echo "forward=$(cat /proc/sys/net/ipv4/ip_forward)"
    if iptables -nL DOCKER-USER > /dev/null 2>&1; then echo chains=theirs; else echo chains=ours; fi
    echo "policy=$(iptables -S FORWARD 2> /dev/null | sed -n 's/^-P FORWARD //p')"
  } > "$dir/network.before"
}

start_own() {
  local i pid
  need_root "start Docker Engine"
  mkdir -p "$dir"
  chmod 711 "$dir"
  exec 9> "$dir/lock"
  flock -w 120 9 || die "another docker.sh is at work in $dir"
  answers "unix://$socket" && return
  pid=$(recorded "$dir/dockerd.pid") && die "dockerd (pid $pid) runs but does not answer; see $dir/dockerd.log"
  mount_cgroups
  remember_network
  make_bridge
  rm -f "$socket" "$dir/engine.pid"
  # A stale pid file of containerd may name a process of today: dockerd would wait for it. A
  # containerd that outlived its dockerd is taken over.
  ours "$(cat "$dir/exec/containerd/containerd.pid" 2> /dev/null)" || rm -f "$dir/exec/containerd/containerd.pid"
  # shellcheck disable=SC2046  # no flag or one
  setsid dockerd -H "unix://$socket" $(cgroup_flags) --data-root "$dir/data" --exec-root "$dir/exec" \
    --pidfile "$dir/engine.pid" --bridge "$bridge" "${flags[@]}" \
    > "$dir/dockerd.log" 2>&1 < /dev/null 9>&- &
  pid=$!
  record "$pid" "$dir/dockerd.pid"
  for ((i = 0; i < 600; i++)); do
    answers "unix://$socket" && return
    kill -0 "$pid" 2> /dev/null || break
    sleep 0.1
  done
  tail -n 5 "$dir/dockerd.log" >&2
  die "dockerd did not come up; see $dir/dockerd.log"
}

# The first engine that answers, in `engine`.
find_engine() {
  engine=
  if [ -z "$own_only" ] && [ -n "${DOCKER_HOST:-}" ] && [ "$DOCKER_HOST" != "unix://$socket" ]; then
    engine=$DOCKER_HOST
    answers "$engine" || { engine=; return 2; }
  elif [ -z "$own_only" ] && [ "${DOCKER_HOST:-}" != "unix://$socket" ] && answers "unix://$default_socket"; then
    engine=unix://$default_socket
  elif answers "unix://$socket"; then
    engine=unix://$socket
  else
    return 1
  fi
}

ensure() {
  local i found=0
  find_engine || found=$?
  [ $found != 2 ] || die "no Docker Engine answers at DOCKER_HOST=$DOCKER_HOST; start it, or unset DOCKER_HOST"
  if [ $found != 0 ]; then
    if ! command -v dockerd > /dev/null; then
      install_engine
      # Where an init system runs, the package has started the engine.
      for ((i = 0; i < 50; i++)); do
        find_engine && break
        pidof dockerd > /dev/null || break
        sleep 0.1
      done
    elif [ -z "$own_only" ] && [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ]; then
      systemctl start docker > /dev/null 2>&1 || true
      find_engine || true
    fi
    [ -n "$engine" ] || { start_own; engine=unix://$socket; }
  fi
  echo "$engine"
}

# --- stopping ---------------------------------------------------------------

restore_network() {
  local forward chains policy t
  [ -e "$dir/network.before" ] || return 0
  forward=$(sed -n 's/^forward=//p' "$dir/network.before")
  chains=$(sed -n 's/^chains=//p' "$dir/network.before")
  policy=$(sed -n 's/^policy=//p' "$dir/network.before")
  rm -f "$dir/network.before"
  command -v iptables > /dev/null || return 0
  # Rules that name our bridge or an address behind it are ours in any case.
  if [ -n "$bridge" ]; then
    for t in filter nat; do
      iptables -w -t $t -S 2> /dev/null | sed -nE "/ ($bridge|$subnet\.[0-9./]+) /s/^-A/-D/p" |
        while read -r rule; do
          # shellcheck disable=SC2086  # a rule is several words
          iptables -w -t $t $rule 2> /dev/null || true
        done
    done
  fi
  # The chains are shared by all engines here: they go with the last, if the first was ours.
  if [ "$chains" = ours ] && ! pidof dockerd > /dev/null; then
    for t in DOCKER-USER DOCKER-ISOLATION-STAGE-1; do
      iptables -w -D FORWARD -j $t 2> /dev/null || true
    done
    iptables -w -t nat -D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER 2> /dev/null || true
    iptables -w -t nat -D OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER 2> /dev/null || true
    for t in DOCKER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-USER; do iptables -w -F $t 2> /dev/null || true; done
    for t in DOCKER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-USER; do iptables -w -X $t 2> /dev/null || true; done
    iptables -w -t nat -F DOCKER 2> /dev/null || true
    iptables -w -t nat -X DOCKER 2> /dev/null || true
    [ -z "$policy" ] || iptables -w -P FORWARD "$policy"
    echo "$forward" > /proc/sys/net/ipv4/ip_forward
  fi
}

# What outlives a dockerd that was killed or lets containers live: its containers (all below our
# control group), their shims, its containerd.
end_leftovers() {
  local pid proc
  [ -z "$bridge" ] || find /sys/fs/cgroup -path "*/$bridge/*" -name cgroup.procs 2> /dev/null |
    while read -r proc; do
      while read -r pid; do kill -KILL "$pid" 2> /dev/null || true; done < "$proc" || true
    done
  for proc in $(pidof containerd-shim-runc-v2 containerd 2> /dev/null); do
    if ours "$proc"; then kill -KILL "$proc" 2> /dev/null || true; fi
  done
}

stop() {
  local pid i bridge= subnet=
  [ -d "$dir" ] || return 0
  need_root "stop Docker Engine"
  if pid=$(recorded "$dir/dockerd.pid"); then
    kill -TERM "$pid"
    for ((i = 0; i < 600; i++)); do
      recorded "$dir/dockerd.pid" > /dev/null || break
      sleep 0.05
    done
    recorded "$dir/dockerd.pid" > /dev/null && die "dockerd (pid $pid) does not end; see $dir/dockerd.log"
  fi
  rm -f "$dir/dockerd.pid" "$dir/engine.pid" "$socket"
  [ ! -e "$dir/bridge" ] || read -r bridge subnet < "$dir/bridge"
  end_leftovers
  restore_network
  [ -z "$bridge" ] || ip link del "$bridge" 2> /dev/null || true
  rm -f "$dir/bridge"
  # Mounts that a killed engine left behind; the innermost first.
  cut -d' ' -f2 /proc/mounts | sort -r | while read -r i; do
    case $i in "$dir"/*) umount -l "$i" 2> /dev/null || true ;; esac
  done
  remove_cgroups
  rm -rf --one-file-system "$dir/exec"
  [ -z "$purge" ] || rm -rf --one-file-system "$dir"
}

case $command in
  ensure) ensure ;;
  stop) stop ;;
  status) if find_engine; then echo "$engine"; else say "no Docker Engine answers; start one with: $0 ensure"; exit 1; fi ;;
  help | -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac

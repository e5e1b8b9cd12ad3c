#!/usr/bin/env bash
# quickstart.sh: from a clone to a supervised app, in one command.
#
#   scripts/quickstart.sh [--listen ADDRESS:PORT] [--data-dir DIR]
#       Installs what this Debian machine lacks (a C linker, curl, busybox-static, Docker Engine),
#       builds lain, starts `lain dev` in the background, deploys samples/hello, shows its
#       supervision tree, and asks the app for a page. Repeating it does only what is not done yet.
#   scripts/quickstart.sh --stop
#       Stops that `lain dev` with its containers, and the Docker Engine if this script started one.
#   scripts/quickstart.sh --status
#       Says whether it runs, and where.
#
# Works as root, or as a user with sudo. Its files (pid, log) are in .quickstart/. Set DOCKER_HOST
# to use an engine elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

home=$PWD/.quickstart
pid_file=$home/lain.pid
log=$home/lain.log
command=start
listen= data_dir=
while [ $# -gt 0 ]; do
  case $1 in
    --listen) [ $# -gt 1 ] || die "--listen needs an address, such as 127.0.0.1:7420"; listen=$2; shift 2 ;;
    --data-dir) [ $# -gt 1 ] || die "--data-dir needs a directory"; data_dir=$(realpath -m "$2"); shift 2 ;;
    --stop) command=stop; shift ;;
    --status) command=status; shift ;;
    -h | --help) sed -n '2,15p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) die "what is '$1'? (--help lists what there is)" ;;
  esac
done

# The pid of our `lain dev`, if that very process still runs.
running() {
  local pid born stat
  [ -s "$pid_file" ] && read -r pid born < "$pid_file" || return 1
  stat=$(cat "/proc/$pid/stat" 2> /dev/null) || return 1
  stat=${stat##*) }
  [[ $stat != [ZX]* ]] && [ "$(echo "$stat" | cut -d' ' -f20)" = "$born" ] && echo "$pid"
}

# Whether lain has to run as root: where this user may not talk to the engine.
needs_root() { # ENGINE
  case $1 in
    unix://*) [ "$(id -u)" != 0 ] && ! [ -w "${1#unix://}" ] ;;
    *) false ;;
  esac
}

wait_for_end() { # PID
  local i
  for ((i = 0; i < 600; i++)); do
    running > /dev/null || return 0
    sleep 0.1
  done
  return 1
}

stop() {
  local pid
  if pid=$(running); then
    say "stopping lain dev (pid $pid) and its containers"
    if [ -O "/proc/$pid" ]; then kill -TERM "$pid"; else as_root kill -TERM "$pid"; fi
    wait_for_end || die "lain dev (pid $pid) does not end; its log: $log"
  else
    say "lain dev of this folder does not run"
  fi
  rm -f "$pid_file" "$home/url" "$home/started"
  if [ -e "$home/engine-is-ours" ]; then
    say "stopping the Docker Engine that was started for it"
    as_root scripts/docker.sh stop
    rm -f "$home/engine-is-ours"
  fi
}

status() {
  local pid
  pid=$(running) || { say "lain dev of this folder does not run; start it with: scripts/quickstart.sh"; exit 1; }
  echo "lain dev (pid $pid) serves $(cat "$home/url" 2> /dev/null || echo "nothing yet"); log: $log"
}

# --- the steps of a start -------------------------------------------------------

ensure_engine() {
  if ! engine=$(scripts/docker.sh status 2> /dev/null); then
    if [ "$(id -u)" = 0 ]; then engine=$(scripts/docker.sh ensure); else
      engine=$(as_root env ${DOCKER_HOST:+DOCKER_HOST="$DOCKER_HOST"} scripts/docker.sh ensure); fi
    [ "$engine" = unix:///var/run/docker.sock ] || touch "$home/engine-is-ours"
  fi
  privilege=
  ! needs_root "$engine" || privilege=sudo
}

start_lain() {
  local pid i arguments=(dev --ready-file "$home/url" --docker-host "$engine" --engine docker)
  if pid=$(running) && [ ! "$binary" -nt "$home/started" ]; then
    say "lain dev runs already (pid $pid)"
    return
  fi
  if pid=$(running); then
    say "lain was built anew: restarting lain dev"
    if [ -O "/proc/$pid" ]; then kill -TERM "$pid"; else as_root kill -TERM "$pid"; fi
    wait_for_end || die "lain dev (pid $pid) does not end; its log: $log"
  fi
  [ -z "$listen" ] || arguments+=(--listen "$listen")
  [ -z "$data_dir" ] || arguments+=(--data-dir "$data_dir")
  rm -f "$home/url"
  # The shell that becomes lain notes its own pid and start time: both survive exec.
  # shellcheck disable=SC2016  # expanded by the inner shell
  $privilege setsid bash -c 'stat=$(cat /proc/$$/stat) && stat=${stat##*) }
    echo "$$ $(echo "$stat" | cut -d" " -f20)" > "$1"; log=$2; shift 2
    exec "$@" > "$log" 2>&1 < /dev/null' \
    quickstart "$pid_file" "$log" "$binary" "${arguments[@]}" < /dev/null &
  touch "$home/started"
  for ((i = 0; i < 600; i++)); do
    [ -s "$home/url" ] && return
    # The first moments belong to the shell that has not written its pid yet.
    [ $i -lt 20 ] || running > /dev/null || break
    sleep 0.1
  done
  tail -n 5 "$log" >&2
  die "lain dev did not come up; the lines above end its log, $log"
}

# lain's command line, talking to the lain that was just started.
lain() {
  if [ -n "$privilege" ]; then sudo env "${connection[@]}" "$binary" "$@"; else
    env "${connection[@]}" "$binary" "$@"; fi
}

# Asks the app for a page until it answers.
ask() { # URL
  local i
  for ((i = 0; i < 100; i++)); do
    answer=$(curl -sS -f -m 5 --noproxy '*' "$1" 2> "$home/curl") && return
    sleep 0.1
  done
  cat "$home/curl" >&2
  die "$1 does not answer; look at: $binary crashes, $binary logs"
}

# Where the app answers. One that was deployed before starts along with lain.
wait_for_url() {
  local i
  for ((i = 0; i < 300; i++)); do
    app_url=$(lain ps -a hello -o json | grep -o 'http://127\.0\.0\.1:[0-9]*' | head -n 1 || true)
    [ -z "$app_url" ] || return 0
    sleep 0.1
  done
  lain ps -a hello >&2
  die "no instance of the app is ready; look at: $binary crashes, $binary logs -a hello; lain's log: $log"
}

start() {
  local url app_url answer engine privilege connection=()
  mkdir -p "$home"
  need_build_tools
  need_packages curl=curl
  need_rust
  say "building (a first build takes some minutes)"
  cargo build --locked --bin lain
  binary=$(target_dir)/debug/lain
  ensure_engine
  say "Docker Engine at $engine"
  if [ -n "$privilege" ]; then sudo DOCKER_HOST="$engine" scripts/make-image.sh -l >&2; else
    DOCKER_HOST=$engine scripts/make-image.sh -l >&2; fi
  start_lain
  url=$(cat "$home/url")
  connection=("LAIN_SERVER=$url")
  [ -z "$data_dir" ] || connection+=("LAIN_TOKEN_FILE=$data_dir/admin.token")
  lain deploy -f samples/hello/lain.yaml
  wait_for_url
  echo
  lain tree
  echo
  lain ps -a hello
  ask "$app_url/"
  printf '\n$ curl %s/\n%s\n' "$app_url" "$answer"
  next_steps
}

next_steps() {
  local run=$binary victim
  case $run in "$PWD"/*) run=.${run#"$PWD"} ;; esac
  [ -z "$privilege" ] || run="sudo $run"
  victim=$($privilege docker -H "$engine" ps --format '{{.Names}}' --filter status=running | grep '^hello\.web' | sort | head -n 1) || true
  cat << END

It runs: lain at $url, the app at $app_url (after $(elapsed)). How to go on:

END
  # Where these are the defaults, nobody has to say them.
  [ -z "$listen$data_dir" ] || echo "  export ${connection[*]}"
  [ "$engine" = unix:///var/run/docker.sock ] || echo "  export DOCKER_HOST=$engine"
  cat << END
  $run tree --watch         # the supervision tree, live; ? lists the keys, q quits
  ${privilege:+sudo -E }docker kill ${victim:-hello.web.web.v1-i1-d0}   # break something, and watch it heal
  $run crashes              # why it died: exit code, signal, last lines of output
  $run logs -a hello -f     # the app's output
  $run --help               # everything else; docs/guide.md explains it
  scripts/quickstart.sh --stop                # stop lain and its containers
END
}

case $command in
  start) start ;;
  stop) stop ;;
  status) status ;;
esac

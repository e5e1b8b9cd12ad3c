#!/usr/bin/env bash
# with.sh: lain dev with receivers for its logs, to try them out: real servers on free ports of this machine.
#
#   with.sh kafka,elasticsearch,rsyslog [DIR] [-- FLAGS OF LAIN DEV]
#       Installs what is missing (rsyslog, kafka, elasticsearch, opensearch), starts each, writes DIR/lain.toml with
#       a sink for each, says where they are, and runs lain dev in the foreground. All of it ends with it. DIR is
#       /tmp/lain-with unless named; started again on it, the servers have what they had.
#
# LAIN is the program (target/debug/lain, or the one in PATH, unless set). Change DIR/lain.toml and run
# `lain sink reload` to try that.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

case ${1:-} in '' | -h | --help) usage ;; esac
wanted=${1//,/ }
shift
dir=/tmp/lain-with
if [ $# -gt 0 ] && [ "$1" != -- ]; then dir=$1; shift; fi
[ "${1:-}" = -- ] && shift
lain=${LAIN:-$(target_dir)/debug/lain}
[ -x "$lain" ] || lain=$(command -v lain) || die "there is no lain; run: cargo build, or set LAIN"
mkdir -p "$dir"
# Elasticsearch runs as another user, who must reach its folder.
chmod 755 "$dir"

pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2> /dev/null || true; done
}
trap finish EXIT
trap 'exit 130' INT TERM

listens() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
free_port() {
  local port
  while port=$((20000 + RANDOM % 20000)); do
    listens "$port" || { echo "$port"; return; }
  done
}
# `serve NAME PORT COMMAND…`: in the background, until it listens.
serve() {
  local name=$1 port=$2 pid
  shift 2
  "$@" > "$dir/$name.log" 2>&1 < /dev/null &
  pid=$!
  pids+=("$pid")
  for _ in $(seq 900); do
    listens "$port" && return
    kill -0 "$pid" 2> /dev/null || { tail -n 10 "$dir/$name.log" >&2; die "$name ended, see $dir/$name.log"; }
    sleep 0.1
  done
  die "$name does not listen, see $dir/$name.log"
}

config=$dir/lain.toml
: > "$config.new"
for server in $wanted; do
  port=$(free_port)
  case $server in
    rsyslog)
      scripts/rsyslog.sh install > /dev/null
      rm -f "$dir/rsyslog/rsyslogd.pid"
      serve rsyslog "$port" scripts/rsyslog.sh run "$dir/rsyslog" 0 "$port"
      printf '[[logging.sink]]\nname = "rsyslog"\ntype = "relp"\naddress = "127.0.0.1:%s"\n\n' "$port" >> "$config.new"
      say "rsyslog     RELP at 127.0.0.1:$port, writes $dir/rsyslog/relp.log"
      ;;
    kafka)
      scripts/kafka.sh install > /dev/null
      serve kafka "$port" scripts/kafka.sh run "$dir/kafka" "$port" "$(free_port)"
      printf '[[logging.sink]]\nname = "kafka"\ntype = "kafka"\nbrokers = "127.0.0.1:%s"\n\n' "$port" >> "$config.new"
      say "kafka       127.0.0.1:$port, a topic for each proc: APP.TYPE.PROC"
      ;;
    elasticsearch | opensearch)
      "scripts/$server.sh" install > /dev/null
      serve "$server" "$port" "scripts/$server.sh" run "$dir/$server" "$port"
      {
        printf '[[logging.sink]]\nname = "%s"\ntype = "elasticsearch"\nurls = ["http://127.0.0.1:%s"]\ntyped_fields = true\n\n' "$server" "$port"
        printf '# Queries are answered by lain'"'"'s own index; to have %s answer them:\n# [log_search]\n# backend = "elasticsearch"\n# urls = "http://127.0.0.1:%s"\n\n' "$server" "$port"
      } >> "$config.new"
      say "$server  http://127.0.0.1:$port/lain-*/_search"
      ;;
    *) die "there is no server $server; known: rsyslog, kafka, elasticsearch, opensearch" ;;
  esac
done
mv "$config.new" "$config"
say "sinks are in $config; lain sink list shows them"
"$lain" dev --config "$config" "$@"

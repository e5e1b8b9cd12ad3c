#!/usr/bin/env bash
# log-proof.sh: proves that no line is lost: instances write numbered lines while the receiver is stopped and killed
# and lain is killed with SIGKILL; then each line is accounted for.
#
#   log-proof.sh [LINES [INSTANCES [KILLS]]]
#       LINES of each of INSTANCES (20000, 5), lain killed KILLS times (5), rsyslog stopped or killed as often.
#       Sinks: rsyslog over RELP, and a file. Says for each how many lines came, how many twice, and whether
#       those of an instance are in order; status 1 when one is missing.
#
# LAIN is the program (target/debug/lain unless set). Needs scripts/rsyslog.sh install. No engine: procs run as
# plain processes.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

case ${1:-} in -h | --help) sed -n '2,13p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;; esac
lines=${1:-20000} instances=${2:-5} kills=${3:-5}
lain=${LAIN:-$(target_dir)/debug/lain}
[ -x "$lain" ] || die "there is no $lain; run: cargo build"
PATH=$PATH:/usr/sbin command -v rsyslogd > /dev/null || die "there is no rsyslogd; run: scripts/rsyslog.sh install"

dir=$(mktemp -d)
lain_pid='' rsyslog_pid=''
finish() {
  local status=$?
  for pid in $lain_pid $rsyslog_pid; do kill -9 "$pid" 2> /dev/null || true; done
  # Instances outlive a lain that is killed: each by the pid of its group, as their folders have it.
  for pid in $(pgrep -f "true proof-$(basename "$dir");"); do kill -9 "$pid" 2> /dev/null || true; done
  if [ "$status" = 0 ]; then rm -rf "$dir"; else say "everything is kept in $dir"; fi
}
trap finish EXIT

# Ports that are free now, by asking the kernel: a listener of bash's own is not to be had, so by chance and look.
free_port() {
  local port
  while port=$((20000 + RANDOM % 20000)); do
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || { echo "$port"; return; }
  done
}
relp=$(free_port) api=$(free_port)

start_rsyslog() {
  rm -f "$dir/rsyslog/rsyslogd.pid"
  scripts/rsyslog.sh run "$dir/rsyslog" 0 "$relp" >> "$dir/rsyslog.log" 2>&1 &
  rsyslog_pid=$!
}
start_lain() {
  rm -f "$dir/ready"
  HOME=$dir XDG_RUNTIME_DIR=$dir "$lain" dev --data-dir "$dir/data" --engine process \
    --listen "127.0.0.1:$api" --config "$dir/lain.toml" --ready-file "$dir/ready" >> "$dir/lain.log" 2>&1 &
  lain_pid=$!
  for _ in $(seq 200); do [ -e "$dir/ready" ] && return; sleep 0.1; done
  die "lain does not start, see $dir/lain.log"
}

cat > "$dir/lain.toml" << TOML
[[logging.sink]]
name = "relp"
type = "relp"
address = "127.0.0.1:$relp"
retry_max = "1s"
apps = ["proof"]
source_types = ["lain_process"]

[[logging.sink]]
name = "file"
type = "file"
path = "$dir/out.ndjson"
max_size = "100GiB"
apps = ["proof"]
source_types = ["lain_process"]
TOML
mkdir -p "$dir/app"
cat > "$dir/app/lain.yaml" << YAML
appname: proof
proc.talk:
  type: worker
  image: none
  cmd: sh -c 'true proof-$(basename "$dir"); i=0; while [ \$i -lt $lines ]; do echo "proof \$LAIN_INSTANCE_NO \$i of some request"; i=\$((i+1)); [ \$((i % 100)) -ne 0 ] || sleep 0.02; done; exec sleep 100000'
  num_instances: $instances
YAML

start_rsyslog
start_lain
export LAIN_SERVER=http://127.0.0.1:$api
LAIN_TOKEN_FILE=$(find "$dir/data" -maxdepth 1 -name '*token*' | head -n 1)
export LAIN_TOKEN_FILE
(cd "$dir/app" && "$lain" deploy > "$dir/deploy.log" 2>&1) || { cat "$dir/deploy.log" >&2; die "the app was not deployed"; }
say "$instances instances write $lines lines each; killing lain $kills times"
for n in $(seq "$kills"); do
  sleep 0.7
  kill -9 "$lain_pid"
  if [ $((n % 2)) = 0 ]; then kill -9 "$rsyslog_pid"; else kill "$rsyslog_pid"; fi
  wait "$lain_pid" "$rsyslog_pid" 2> /dev/null || true
  start_lain
  sleep 0.5
  start_rsyslog
done

wanted=$((lines * instances))
distinct() { grep -ao 'proof [0-9]* [0-9]*' "$1" 2> /dev/null | sort -u | wc -l; }
for _ in $(seq 600); do
  [ "$(distinct "$dir/rsyslog/relp.log")" = "$wanted" ] && [ "$(distinct "$dir/out.ndjson")" = "$wanted" ] && break
  sleep 1
done
"$lain" sink list || true

status=0
for file in rsyslog/relp.log out.ndjson; do
  grep -ao 'proof [0-9]* [0-9]*' "$dir/$file" | awk -v file="$file" -v wanted="$wanted" '
    { if (seen[$2, $3]++) twice++; else { count++; if ($3 != next_[$2] + 0) wrong++; next_[$2] = $3 + 1 } }
    END { printf "%-18s %d of %d lines, %d missing, %d twice, %d out of order\n", file, count, wanted, wanted - count, twice, wrong
          exit (count != wanted || wrong > 0) }' || status=1
done
"$lain" undeploy -a proof --yes > /dev/null 2>&1 || true
exit "$status"

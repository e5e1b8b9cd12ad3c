#!/usr/bin/env bash
# schemathesis.sh: sends thousands of made-up requests to every route of the API.
#
#   scripts/schemathesis.sh [--url URL --token TOKEN] [ARGUMENT…]
#       Without a URL it builds and serves the API over a control host in memory
#       (examples/api_memory.rs) at a free port of loopback, and ends it again. ARGUMENTs go to
#       schemathesis, such as `--max-examples 500` or `--include-tag apps`. Fails on a 5xx, an undocumented
#       status, an answer that is not as described, wrong input that is accepted, or a route that forgets
#       its token.
#
# Needs python3 with venv, and PyPI at the first run: schemathesis is kept below the target directory.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

VERSION=4.32.5
url= token=
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,12p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
    --url) url=$2; shift 2 ;;
    --token) token=$2; shift 2 ;;
    *) break ;;
  esac
done

venv=$(target_dir)/schemathesis-$VERSION
if [ ! -x "$venv/bin/schemathesis" ]; then
  say "installing schemathesis $VERSION into $venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "schemathesis==$VERSION"
fi

work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || kill "$server" 2> /dev/null || true
  rm -rf "$work"
}
trap finish EXIT

if [ -z "$url" ]; then
  cargo build --locked --example api_memory
  "$(target_dir)/debug/examples/api_memory" 127.0.0.1:0 > "$work/address" 2> "$work/log" &
  server=$!
  for _ in $(seq 100); do
    [ -s "$work/address" ] && break
    kill -0 "$server" || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
  done
  read -r url token < "$work/address"
fi

say "schemathesis $VERSION against $url"
status=0
(
  # It writes its examples below the folder that it runs in.
  config=$PWD/tests/api/schemathesis.toml
  cd "$work"
  exec "$venv/bin/schemathesis" --config-file "$config" run "$url/api/v1/openapi.json" \
    --url "$url" --header "Authorization: Bearer $token" --no-color --continue-on-failure \
    --request-timeout 20 "$@"
) || status=$?

if [ -n "$server" ] && ! kill -0 "$server" 2> /dev/null; then
  say "the server has died:"
  cat "$work/log" >&2
  status=1
fi
say "status $status after $(elapsed)"
exit "$status"

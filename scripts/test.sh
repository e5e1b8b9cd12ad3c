#!/usr/bin/env bash
# test.sh: passes all tests, in one command.
#
#   scripts/test.sh [ARGUMENT…]
#       Installs what the tests need on this Debian machine (compilers, protoc, curl, Docker Engine, etcd,
#       busybox-static, iproute2, nftables, faketime, rsyslog, nginx, Maven with a JDK for Kafka, Elasticsearch and OpenSearch), makes sure
#       that an engine answers, loads the sample image, and runs
#       `cargo test` over everything, or with the ARGUMENTs given (`--test host`). An engine that it
#       started is stopped again at the end; one that ran before is left running.
#
# Needs root, or sudo: the tests start engines of their own, and fill disks of their own.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

case ${1:-} in
  -h | --help) sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
esac

if [ "$(id -u)" != 0 ]; then
  say "the tests start engines of their own, which needs root: going on with sudo"
  need_rust
  exec sudo -H env "PATH=$PATH" "CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}" \
    "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}" ${CARGO_TARGET_DIR:+"CARGO_TARGET_DIR=$CARGO_TARGET_DIR"} \
    "scripts/test.sh" "$@"
fi

need_build_tools
need_packages curl=curl openssl=openssl busybox=busybox-static ip=iproute2 iptables=iptables \
  unshare=util-linux nft=nftables faketime=faketime
need_rust

started_engine=
finish() {
  local status=$?
  [ -z "$started_engine" ] || scripts/docker.sh stop || say "the engine could not be stopped: scripts/docker.sh stop"
  say "status $status after $(elapsed)"
}
trap finish EXIT

if ! DOCKER_HOST=$(scripts/docker.sh status 2> /dev/null); then
  DOCKER_HOST=$(scripts/docker.sh ensure)
  [ "$DOCKER_HOST" = unix:///var/run/docker.sock ] || started_engine=1
fi
export DOCKER_HOST
say "Docker Engine at $DOCKER_HOST"
for version in 1 2; do
  scripts/make-image.sh -t "lain/hello:$version" -l >&2
done

# The real servers that tests run against: pinned, fetched once, started by the tests themselves.
for server in etcd rsyslog nginx kafka elasticsearch opensearch; do
  "scripts/$server.sh" install > /dev/null
done

# Random cases are the same in each run of the same state: what fails here fails again. Others are found with
# another seed: PROPTEST_RNG_SEED=$RANDOM scripts/test.sh --lib property
export PROPTEST_RNG_SEED="${PROPTEST_RNG_SEED:-1}"

# One build for everything: the same profile and features as `scripts/quickstart.sh`.
cargo test --locked "$@"

#!/usr/bin/env bash
# etcd.sh: etcd on any Debian machine, for the tests and to try a cluster's store out.
#
#   etcd.sh install
#       Installs Debian's `etcd-server` and `etcd-client` where they are missing. The service that the
#       package brings is not needed, and is left as it is.
#   etcd.sh run DIR [FLAG...]
#       Runs one member in the foreground: data in DIR, clients at http://127.0.0.1:2379, with the limits
#       that docs/operations.md recommends. For trying things out: one member is no cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() { sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//'; }

install_etcd() { need_packages etcd=etcd-server etcdctl=etcd-client; }

case ${1:-} in
  install) install_etcd ;;
  run)
    [ $# -ge 2 ] || die "run needs a directory"
    install_etcd
    dir=$2
    shift 2
    exec etcd --data-dir "$dir" --logger zap --max-txn-ops 4096 --max-request-bytes 8388608 \
      --auto-compaction-mode periodic --auto-compaction-retention 1h "$@"
    ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac

#!/usr/bin/env bash
# elasticsearch.sh: an Elasticsearch for lain's tests and benchmarks, without a container registry.
#
#   elasticsearch.sh install        fetches it (Maven Central, by mvn) and prints where its archive lies
#   elasticsearch.sh run DIR PORT   unpacks it below DIR and runs it in the foreground, on loopback only;
#                                   ends with SIGTERM. LAIN_ES_HEAP: its memory, 512m unless set.
#
# The archive is kept in $LAIN_SERVERS, or ~/.cache/lain-servers. Needs Java 11 to 17 and mvn.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

version=7.17.28
sha256=37004c9bd95165eb41b229204bbb9f311d8099d6db22ec22b2f019664f0a75ab
cache=${LAIN_SERVERS:-$HOME/.cache/lain-servers}
archive=$cache/elasticsearch-$version.zip

right() { [ -f "$archive" ] && echo "$sha256  $archive" | sha256sum --check --status; }

install() {
  right && return
  need_packages mvn='maven default-jre-headless' unzip=unzip
  mkdir -p "$cache"
  say "fetching Elasticsearch $version"
  mvn -q dependency:copy -DoutputDirectory="$cache" \
    -Dartifact="org.elasticsearch.distribution.integ-test-zip:elasticsearch:$version:zip" >&2 ||
    die "Elasticsearch $version cannot be fetched"
  right || { rm -f "$archive"; die "the archive of Elasticsearch $version is not the one that was pinned"; }
}

case ${1:-} in
  install)
    install
    echo "$archive"
    ;;
  run)
    [ $# -eq 3 ] || die "run takes DIR and PORT"
    install
    dir=$2 port=$3 home=$2/elasticsearch-$version
    mkdir -p "$dir"
    [ -d "$home" ] || unzip -q "$archive" -d "$dir"
    mkdir -p "$home/logs" "$dir/data" "$dir/tmp"
    cat > "$home/config/elasticsearch.yml" << CONFIG
path.data: $dir/data
http.port: $port
http.host: 127.0.0.1
transport.host: 127.0.0.1
transport.port: 0
discovery.type: single-node
xpack.security.enabled: false
ingest.geoip.downloader.enabled: false
cluster.routing.allocation.disk.threshold_enabled: false
action.destructive_requires_name: false
CONFIG
    sed -i '/geoip/d' "$home/config/elasticsearch.yml"
    java=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")
    as=()
    # It refuses to run as root.
    if [ "$(id -u)" = 0 ]; then
      chown -R nobody "$dir"
      chmod 755 "$dir"
      as=(setpriv --reuid=nobody --regid=nogroup --clear-groups --)
    fi
    exec env ES_JAVA_HOME="$java" ES_TMPDIR="$dir/tmp" ES_JAVA_OPTS="-Xms${LAIN_ES_HEAP:-512m} -Xmx${LAIN_ES_HEAP:-512m}" \
      "${as[@]}" "$home/bin/elasticsearch" -q
    ;;
  *) usage ;;
esac

#!/usr/bin/env bash
# opensearch.sh: an OpenSearch for lain's tests and for trying it out, without a container registry.
#
#   opensearch.sh install
#       Fetches OpenSearch and what it runs on from Maven Central into ~/.cache/lain-servers, once. Needs a JDK
#       (17 or newer) and Maven. Prints the folder.
#   opensearch.sh run DIR PORT
#       Runs one node in the foreground whose data are in DIR, on 127.0.0.1:PORT. Started again on the same DIR
#       it has what it had.
#
# It is the server itself, with data streams, in a small program of ours (OpenSearchServer.java): plugins that a
# distribution brings besides (security, index state management) are not there.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

VERSION=2.19.3
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lain-servers
jars=$cache/opensearch-$VERSION

install() {
  [ -e "$jars/.complete" ] && { echo "$jars"; return; }
  need_packages 'javac=openjdk-17-jdk-headless' 'mvn=maven' >&2
  maven_jars "$jars" "OpenSearch $VERSION" "<dependency><groupId>org.opensearch</groupId><artifactId>opensearch</artifactId><version>$VERSION</version></dependency>
    <dependency><groupId>org.opensearch.plugin</groupId><artifactId>transport-netty4-client</artifactId><version>$VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.21.0</version></dependency>"
  javac -cp "$jars/*" -d "$jars" scripts/OpenSearchServer.java
  touch "$jars/.complete"
  echo "$jars"
}

run() {
  local dir=$1 port=$2
  [ -e "$jars/.complete" ] || die "OpenSearch is not installed; run: scripts/opensearch.sh install"
  mkdir -p "$dir"
  exec java "-Xmx${LAIN_ES_HEAP:-512m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=WARN \
    -cp "$jars:$jars/*" OpenSearchServer "$dir" "$port"
}

case ${1:-} in
  install) install ;;
  run) shift; [ $# -eq 2 ] || die "run needs a folder and a port"; run "$@" ;;
  *) usage ;;
esac

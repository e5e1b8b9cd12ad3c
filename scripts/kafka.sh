#!/usr/bin/env bash
# kafka.sh: Apache Kafka in KRaft mode, one node, for tests and for trying out.
#
#   kafka.sh install
#       Fetches Kafka and what it runs on from Maven Central into ~/.cache/lain-servers, once. Needs a JVM
#       (17 or newer) and Maven. Prints the folder.
#   kafka.sh run DIR PORT
#       Runs one in the foreground whose data are in DIR, on 127.0.0.1:PORT. Started again on the same DIR it
#       has what it had.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

VERSION=4.1.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lain-servers
jars=$cache/kafka-$VERSION

install() {
  [ -e "$jars/.complete" ] && { echo "$jars"; return; }
  need_packages 'java=openjdk-17-jre-headless' 'mvn=maven' >&2
  local work
  work=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$work'" EXIT
  cat > "$work/pom.xml" << POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>lain</groupId><artifactId>kafka-server</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
  say "fetching Kafka $VERSION from Maven Central"
  mkdir -p "$jars"
  mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$jars" > "$work/log" 2>&1 < /dev/null ||
    { tail -n 10 "$work/log" >&2; die "Kafka could not be fetched; check the network and repeat"; }
  touch "$jars/.complete"
  echo "$jars"
}

run() {
  local dir=$1 port=$2 controller=$(( $2 + 1 ))
  [ -e "$jars/.complete" ] || die "Kafka is not installed; run: scripts/kafka.sh install"
  controller=${3:-$controller}
  mkdir -p "$dir"
  cat > "$dir/server.properties" << PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$dir/data
num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=true
PROPERTIES
  if [ ! -e "$dir/data/meta.properties" ]; then
    java -cp "$jars/*" kafka.tools.StorageTool format --standalone -t AAAAAAAAQAClAAAAAAAAAQ \
      -c "$dir/server.properties" > "$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; die "formatting $dir failed"; }
  fi
  exec java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.Kafka "$dir/server.properties"
}

case ${1:-} in
  install) install ;;
  run) shift; [ $# -ge 2 ] || die "run needs a folder and a port"; run "$@" ;;
  *) sed -n '2,10p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac

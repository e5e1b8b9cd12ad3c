#!/usr/bin/env bash
# kafka.sh: Apache Kafka in KRaft mode, one node, for tests and for trying out.
#
#   kafka.sh install
#       Fetches Kafka and what it runs on from Maven Central into ~/.cache/lain-servers, once. Needs a JVM
#       (17 or newer) and Maven. Prints the folder.
#   kafka.sh run DIR PORT
#       Runs one in the foreground whose data are in DIR, on 127.0.0.1:PORT. Started again on the same DIR it
#       has what it had.
#   kafka.sh run DIR PORT CONTROLLER SECURE
#       The same, with the port of its controller chosen, and TLS with SASL (PLAIN, SCRAM) on
#       localhost:SECURE besides: DIR/server.pem is its key and certificate, DIR/password that of user lain.
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
  maven_jars "$jars" "Kafka $VERSION" "<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>"
  touch "$jars/.complete"
  echo "$jars"
}

run() {
  local dir=$1 port=$2 controller=$(( $2 + 1 ))
  [ -e "$jars/.complete" ] || die "Kafka is not installed; run: scripts/kafka.sh install"
  controller=${3:-$controller}
  local secure=${4:-} listeners="" advertised="" protocols="" scram=()
  mkdir -p "$dir"
  if [ -n "$secure" ]; then
    listeners=,SECURE://127.0.0.1:$secure advertised=,SECURE://localhost:$secure protocols=,SECURE:SASL_SSL
    local bits
    for bits in 256 512; do
      scram+=(--add-scram "SCRAM-SHA-$bits=[name=lain,password=$(cat "$dir/password")]")
    done
  fi
  cat > "$dir/server.properties" << PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller$listeners
advertised.listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller$advertised
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT$protocols
inter.broker.listener.name=PLAINTEXT
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
  if [ -n "$secure" ]; then
    # The password stands in a file of its owner's, as in DIR/password.
    chmod 600 "$dir/server.properties"
    cat >> "$dir/server.properties" << PROPERTIES
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location=$dir/server.pem
listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_lain="$(cat "$dir/password")";
listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
PROPERTIES
  fi
  if [ ! -e "$dir/data/meta.properties" ]; then
    java -cp "$jars/*" kafka.tools.StorageTool format --standalone "${scram[@]}" -t AAAAAAAAQAClAAAAAAAAAQ \
      -c "$dir/server.properties" > "$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; die "formatting $dir failed"; }
  fi
  exec java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.Kafka "$dir/server.properties"
}

case ${1:-} in
  install) install ;;
  run) shift; [ $# -ge 2 ] || die "run needs a folder and a port"; run "$@" ;;
  *) usage ;;
esac

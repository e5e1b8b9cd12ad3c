#!/usr/bin/env bash
# rsyslog.sh: rsyslog with RELP and TLS, for tests and for trying out, without touching the machine's own.
#
#   rsyslog.sh install
#       Installs Debian's rsyslog, rsyslog-relp and rsyslog-openssl where they are missing, without starting
#       the service. Prints the program's path.
#   rsyslog.sh run DIR [TCP [RELP [UDP [TLS]]]]
#       Runs one in the foreground that writes what it gets to DIR/tcp.log, relp.log, udp.log and tls.log, one
#       JSON object a line. Ports are 0 for none; TLS needs DIR/ca.pem, cert.pem and key.pem.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

program() { PATH=$PATH:/usr/sbin:/sbin command -v rsyslogd; }

install() {
  if ! program > /dev/null || [ ! -e /usr/lib/x86_64-linux-gnu/rsyslog/imrelp.so ] &&
    [ ! -e /usr/lib/aarch64-linux-gnu/rsyslog/imrelp.so ]; then
    need_quietly 'imrelp=rsyslog rsyslog-relp rsyslog-openssl'
  fi
  program || die "rsyslogd is still missing; run: apt-get install rsyslog rsyslog-relp rsyslog-openssl"
}

run() {
  local dir=$1 tcp=${2:-0} relp=${3:-0} udp=${4:-0} tls=${5:-0}
  mkdir -p "$dir"
  {
    echo "global(workDirectory=\"$dir\" maxMessageSize=\"64k\" parser.escapeControlCharactersOnReceive=\"off\")"
    echo 'template(name="json" type="list" option.jsonf="on") {'
    local pair
    for pair in 'msg msg' 'app-name app' 'procid procid' 'msgid msgid' 'hostname host' 'structured-data sd' \
      'timereported timereported' 'syslogseverity-text severity'; do
      echo "  property(outname=\"${pair#* }\" name=\"${pair% *}\" format=\"jsonf\"$([ "$pair" = 'timereported timereported' ] && echo ' dateFormat="rfc3339"'))"
    done
    echo '}'
    local kind
    for kind in tcp relp udp tls; do
      echo "ruleset(name=\"$kind\" queue.type=\"direct\") { action(type=\"omfile\" file=\"$dir/$kind.log\" template=\"json\" asyncWriting=\"off\" flushOnTXEnd=\"on\") }"
    done
    [ "$tcp" = 0 ] || {
      echo 'module(load="imptcp")'
      echo "input(type=\"imptcp\" port=\"$tcp\" address=\"127.0.0.1\" ruleset=\"tcp\" supportOctetCountedFraming=\"on\")"
    }
    [ "$relp" = 0 ] || {
      echo 'module(load="imrelp")'
      echo "input(type=\"imrelp\" port=\"$relp\" address=\"127.0.0.1\" ruleset=\"relp\" maxDataSize=\"64k\")"
    }
    [ "$udp" = 0 ] || {
      echo 'module(load="imudp")'
      echo "input(type=\"imudp\" port=\"$udp\" address=\"127.0.0.1\" ruleset=\"udp\")"
    }
    [ "$tls" = 0 ] || {
      echo "module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")"
      echo "input(type=\"imtcp\" port=\"$tls\" address=\"127.0.0.1\" ruleset=\"tls\" streamDriver.caFile=\"$dir/ca.pem\" streamDriver.certFile=\"$dir/cert.pem\" streamDriver.keyFile=\"$dir/key.pem\")"
    }
  } > "$dir/rsyslog.conf"
  exec "$(program)" -n -f "$dir/rsyslog.conf" -i "$dir/rsyslogd.pid"
}

case ${1:-} in
  install) install ;;
  run) shift; [ $# -ge 1 ] || die "run needs a folder"; run "$@" ;;
  *) usage ;;
esac

#!/usr/bin/env bash
# nginx.sh: Debian's nginx, for tests and for trying out, without touching the machine's own.
#
#   nginx.sh install
#       Installs nginx where it is missing, without starting the service. Prints the program's path.
#   nginx.sh run DIR PORT
#       Runs one in the foreground, with DIR/combined.log, DIR/json.log (docs/logs.md has its format) and
#       DIR/error.log. /slow takes about a second, /broken answers 502, /teapot 418, everything else 200.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

program() { PATH=$PATH:/usr/sbin:/sbin command -v nginx; }

install() {
  if ! program > /dev/null; then
    need_quietly nginx=nginx-light
  fi
  program || die "nginx is still missing; run: apt-get install nginx-light"
}

run() {
  local dir=$1 port=$2
  mkdir -p "$dir"
  # The format is the one that docs/logs.md has, word for word.
  {
    cat << CONF
daemon off;
master_process off;
pid $dir/nginx.pid;
error_log $dir/error.log info;
events { worker_connections 64; }
http {
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
CONF
    sed -n '/^log_format lain /,/;$/p' docs/logs.md
    cat << CONF
  access_log $dir/combined.log combined;
  access_log $dir/json.log lain;
  server {
    listen 127.0.0.1:$port;
    location / { return 200 "hello\n"; }
    location /teapot { return 418 "no\n"; }
    location /broken { proxy_pass http://127.0.0.1:1; }
    location /missing { root $dir/nowhere; }
    location /slow {
      limit_rate 2k;
      root $dir;
    }
  }
}
CONF
  } > "$dir/nginx.conf"
  head -c 3000 /dev/zero > "$dir/slow"
  exec "$(program)" -p "$dir" -c "$dir/nginx.conf" -e "$dir/error.log"
}

case ${1:-} in
  install) install ;;
  run) shift; [ $# -eq 2 ] || die "run needs a folder and a port"; run "$@" ;;
  *) usage ;;
esac

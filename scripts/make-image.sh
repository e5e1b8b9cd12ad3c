#!/usr/bin/env bash
# make-image.sh: the sample image lain/hello, made without a registry and without an engine.
#
#   make-image.sh [-t NAME:TAG] [-v VERSION] [-o FILE] [-l]
#     -t  the image's name and tag      (lain/hello:1)
#     -v  the version that it answers   (the tag)
#     -o  where to write it, in the form of `docker save`   (a temporary file with -l)
#     -l  load it into the engine that DOCKER_HOST or scripts/docker.sh names; one that is loaded
#         already is left as it is
#
# The same files make the same bytes, and so the same image id. Needs a static busybox (Debian's
# busybox-static; installed where absent), tar, sha256sum. What the image does: samples/hello/.
set -euo pipefail

die() { echo "make-image.sh: $*" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
sample=$here/../samples/hello

out= tag=lain/hello:1 version= load=
while getopts t:v:o:lh option; do
  case $option in
    t) tag=$OPTARG ;;
    v) version=$OPTARG ;;
    o) out=$OPTARG ;;
    l) load=1 ;;
    h) sed -n '2,12p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) exit 2 ;;
  esac
done
[[ $tag == *?:?* ]] || die "an image needs a name and a tag, such as lain/hello:1; '$tag' has not both"
[ -n "$out$load" ] || die "say where to write it (-o FILE), or load it (-l)"
version=${version:-${tag##*:}}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

static_busybox() {
  local candidate
  for candidate in /bin/busybox /usr/bin/busybox; do
    [ -x "$candidate" ] || continue
    ldd "$candidate" 2> /dev/null | grep -q '=>' && continue
    echo "$candidate"
    return
  done
  return 1
}

install_busybox() {
  local log=$tmp/apt.log
  [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null ||
    die "needs a static busybox; run: sudo apt-get install busybox-static"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -qq -o DPkg::Lock::Timeout=120 update &&
    apt-get -qq -y -o DPkg::Lock::Timeout=120 install --no-install-recommends busybox-static; } \
    > "$log" 2>&1 < /dev/null || { tail -n 5 "$log" >&2; die "apt-get install busybox-static failed"; }
}

busybox=$(static_busybox) || { install_busybox; busybox=$(static_busybox) || die "busybox-static gave no static busybox"; }

# --- the root file system -----------------------------------------------------

root=$tmp/root
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,etc,tmp,proc,sys,dev,var/log,root,data}
chmod 1777 "$root/tmp"
install -m 755 "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
  [ "$applet" = busybox ] || ln -s /bin/busybox "$root/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/app:/bin/sh\n' > "$root/etc/passwd"
printf 'root:x:0:\napp:x:1000:\n' > "$root/etc/group"
cp -r "$sample/app" "$root/app"
cp -r "$sample/www" "$root/app/www"
echo "$version" > "$root/app/version"
chmod -R u=rwX,go=rX "$root/app"

# --- the image, as `docker load` reads it --------------------------------------

pack() { # DIR FILE: the same bytes for the same files
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" -cf "$2" .
}
digest() { sha256sum < "$1" | cut -d' ' -f1; }

case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64) arch=arm64 ;;
  *) arch=$(uname -m) ;;
esac
pack "$root" "$tmp/layer.tar"
layer=$(digest "$tmp/layer.tar")
cat > "$tmp/config.json" << JSON
{"architecture":"$arch","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Env":["PATH=/bin:/sbin:/usr/bin:/usr/sbin"],"Cmd":["/app/web"],"WorkingDir":"/app","ExposedPorts":{"80/tcp":{}},"Labels":{"lain.sample.version":"$version"}},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"scripts/make-image.sh"}],"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]}}
JSON
config=$(digest "$tmp/config.json")
mkdir -p "$tmp/image/$layer"
mv "$tmp/layer.tar" "$tmp/image/$layer/layer.tar"
mv "$tmp/config.json" "$tmp/image/$config.json"
echo 1.0 > "$tmp/image/$layer/VERSION"
echo "{\"id\":\"$layer\",\"created\":\"1970-01-01T00:00:00Z\"}" > "$tmp/image/$layer/json"
echo "[{\"Config\":\"$config.json\",\"RepoTags\":[\"$tag\"],\"Layers\":[\"$layer/layer.tar\"]}]" > "$tmp/image/manifest.json"

out=${out:-$tmp/image.tar}
mkdir -p "$(dirname "$out")"
pack "$tmp/image" "$out.part.$$" && mv "$out.part.$$" "$out"

if [ -n "$load" ]; then
  engine=${DOCKER_HOST:-$("$here/docker.sh" status)} || die "no Docker Engine to load $tag into; run scripts/docker.sh ensure"
  loaded=$(docker -H "$engine" image inspect -f '{{.Id}}' "$tag" 2> /dev/null || true)
  [ "$loaded" = "sha256:$config" ] || docker -H "$engine" load -q -i "$out" > /dev/null ||
    die "loading $tag into $engine failed"
fi
echo "$tag sha256:${config:0:12}"

# lib.sh: what the other scripts share. Sourced at the root of the repository, never run.
# shellcheck shell=bash

me=$(basename "$0")
say() { echo "$me: $*" >&2; }
die() { say "$*"; exit 1; }

# The script's head comment, and its end: it was called wrongly. Named from the root, where all of them have gone.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "scripts/$me" >&2; exit 2; }

# `as_root CMD…`: as root, by sudo where this is another user.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo > /dev/null; then
    sudo "$@"
  else
    die "'$*' needs root, and there is no sudo here; run $me as root"
  fi
}

# The commands of the Rust toolchain, also where the shell has not read ~/.cargo/env yet.
need_rust() {
  local wanted have
  command -v cargo > /dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  command -v cargo > /dev/null ||
    die "there is no cargo here; install Rust (rustup, stable toolchain), open a new shell, and repeat"
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  have=$(rustc --version | cut -d' ' -f2)
  [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] ||
    die "Rust $wanted or newer is needed, this is $have; run: rustup update stable (Debian's own package is older: use rustup)"
}

# `need_packages 'COMMAND=PACKAGE PACKAGE'…`: installs the Debian packages whose commands are missing.
need_packages() {
  local pair missing=() log
  for pair in "$@"; do
    # shellcheck disable=SC2206  # a command may need several packages
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%=*}" > /dev/null || missing+=(${pair#*=})
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get > /dev/null ||
    die "missing: ${missing[*]}; there is no apt-get to install them with: install them and repeat"
  say "installing ${missing[*]}"
  log=$(mktemp)
  { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 \
      install --no-install-recommends "${missing[@]}"; } > "$log" 2>&1 < /dev/null ||
    { tail -n 10 "$log" >&2; die "apt-get install ${missing[*]} failed"; }
  rm -f "$log"
}

# `need_quietly 'COMMAND=PACKAGE PACKAGE'…`: the same for the program of a service, which does not start on this
# machine. A subshell, so that the trap is its own: what forbids services to start goes however this ends.
need_quietly() (
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    # shellcheck disable=SC2016  # for the shell of root
    as_root sh -c 'printf "#!/bin/sh\nexit 101\n" > "$1" && chmod +x "$1"' sh "$policy"
  fi
  need_packages "$@"
)

# What a build needs besides Rust: a C and C++ compiler and make for librdkafka, which is built along;
# OpenSSL's and zstd's headers; and protoc with its own definitions, since etcd's client makes its calls from etcd's
# protocol buffers when it is compiled.
need_build_tools() {
  need_packages 'cc=gcc libc6-dev' c++=g++ make=make pkg-config=pkg-config \
    'protoc=protobuf-compiler libprotobuf-dev'
  [ -e /usr/include/openssl/ssl.h ] || need_packages 'openssl-headers=libssl-dev'
  [ -e /usr/include/zstd.h ] || need_packages 'zstd-headers=libzstd-dev'
}

# Where cargo puts what it builds.
target_dir() {
  local dir=${CARGO_TARGET_DIR:-target}
  case $dir in
    /*) echo "$dir" ;;
    *) echo "$PWD/$dir" ;;
  esac
}

# Seconds since this shell began, as people read them.
elapsed() { echo "$((SECONDS / 60)) min $((SECONDS % 60)) s"; }

# `maven_jars FOLDER NAME POM-DEPENDENCIES`: fetches these and all that they need from Maven Central into FOLDER.
maven_jars() {
  local jars=$1 name=$2 work
  work=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$work'" EXIT
  cat > "$work/pom.xml" << POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>lain</groupId><artifactId>server</artifactId><version>1</version>
  <dependencies>
$3
  </dependencies>
</project>
POM
  say "fetching $name from Maven Central"
  mkdir -p "$jars"
  mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$jars" > "$work/log" 2>&1 < /dev/null ||
    { tail -n 10 "$work/log" >&2; die "${name% *} could not be fetched; check the network and repeat"; }
}

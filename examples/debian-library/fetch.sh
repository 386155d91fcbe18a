#!/bin/sh
# Puts the source of sortedcontainers, as Debian distributes it, into a folder, with
# pytest beside it so that the library's own tests can run without installing anything.
#
#   fetch.sh FOLDER        FOLDER must not exist
#
# Needs Debian or Ubuntu with debian-archive-keyring, but no root: apt works in a folder
# of its own and checks Debian's signatures. What was downloaded is kept in
# $XDG_CACHE_HOME/pyexec/debian-library. Exits with 3 when Debian cannot be reached.
set -eu

folder=${1:?usage: fetch.sh FOLDER}
suite=trixie
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
runner='python3-pytest python3-pluggy python3-iniconfig python3-packaging'
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pyexec/debian-library/$suite

if [ -e "$folder" ]; then echo "$folder is there already" >&2; exit 1; fi

download() {
  for program in apt-get dpkg-deb; do
    command -v $program >/dev/null || { echo "this machine has no $program" >&2; exit 3; }
  done
  [ -r $keyring ] || { echo "$keyring is missing: apt-get install debian-archive-keyring" >&2; exit 3; }
  mkdir -p "$(dirname "$cache")"
  work=$(mktemp -d "$cache.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial" "$work/apt/archives/partial" "$work/files"
  for type in deb deb-src; do echo "$type [signed-by=$keyring] $mirror $suite main"; done >"$work/sources.list"
  cat >"$work/apt.conf" <<CONF
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "$work";
Dir::State::Lists "$work/lists";
Dir::State::Status "/dev/null";
Dir::Cache "$work/apt";
Debug::NoLocking "1";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "15";
APT::Update::Error-Mode "any";
CONF
  export APT_CONFIG="$work/apt.conf"
  (
    cd "$work/files"
    apt-get -qq update
    apt-get -qq source --download-only sortedcontainers
    # shellcheck disable=SC2086 -- a list of names
    apt-get -qq download $runner
  ) >"$work/log" 2>&1 || { echo "Debian cannot be reached at $mirror:" >&2; cat "$work/log" >&2; exit 3; }
  # Only a complete download gets the name; who comes second keeps the first.
  mv -T "$work/files" "$cache" 2>/dev/null || [ -d "$cache" ]
  rm -rf "$work"
  trap - EXIT
}

[ -d "$cache" ] || download

mkdir -p "$folder"
tar -xzf "$cache"/sortedcontainers_*.orig.tar.gz -C "$folder" --strip-components=1
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
for package in "$cache"/python3-*.deb; do dpkg-deb -x "$package" "$unpacked"; done
cp -R "$unpacked"/usr/lib/python3/dist-packages/. "$folder"

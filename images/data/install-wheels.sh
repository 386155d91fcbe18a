#!/bin/sh
# The wheels and fonts of the data image, on the official Python image. Runs as root inside `docker build`.
#
# With a lock of this Python and architecture (images/README.md says how one is made) every
# wheel is checked against its hash. Without one, versions are those of requirements.in.
set -eu
folder=$(dirname "$0")

apt-get update
apt-get install -y --no-install-recommends fonts-dejavu-core fonts-wqy-microhei

python=$(python3 -c 'import platform, sys; print("%d.%d-%s" % (*sys.version_info[:2], platform.machine()))')
lock="$folder/requirements-$python.txt"
if [ -f "$lock" ]; then
  set -- --require-hashes --requirement "$lock"
else
  echo "no lock for Python $python: versions are pinned, hashes are not" >&2
  set -- --requirement "$folder/requirements.in"
fi
python3 -m pip install --no-cache-dir --no-compile --only-binary :all: --root-user-action ignore "$@"

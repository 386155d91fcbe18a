# The service (not the sandboxes: those are in images/). deploy/README.md says how to run it.
#
#   docker build -t pyexec-service .
#
# Where no registry answers, BASE is any local Debian image with glibc, for example the
# sandbox base that `npm run setup` made. Node.js and the packages then come from
# node_modules of this checkout, and the build needs no network:
#
#   docker build -t pyexec-service --network none --build-arg BASE=pyexec/base:<tag> .

ARG BASE=docker.io/library/node:24-slim

# /app/node_modules, without what only development needs.
FROM ${BASE} AS dependencies
# By this label an operator (and the test) finds what the classic builder leaves of a stage.
LABEL pyexec.stage=service
USER 0:0
WORKDIR /app
COPY package.json package-lock.json deploy/docker/dependencies.sh deploy/docker/production-modules.mjs /build/
# The pattern makes node_modules optional; what is copied is its content.
COPY package.json node_module[s] /app/node_modules/
RUN sh /build/dependencies.sh

FROM ${BASE} AS sources
LABEL pyexec.stage=service
USER 0:0
COPY package.json LICENSE /app/
COPY seccomp /app/seccomp
COPY src /app/src
# The checkout may be readable to its owner only; the service is somebody else.
RUN chmod -R a+rX,go-w /app

FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="pyexec" \
      org.opencontainers.image.description="HTTP service that runs untrusted Python, each run in a throwaway hardened container" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 0:0
# Of the official Node.js image: package managers, which the service never uses.
RUN rm -rf /usr/local/lib/node_modules /opt/yarn-* \
           /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /usr/local/bin/yarn /usr/local/bin/yarnpkg
COPY --from=dependencies /app /app
COPY --from=sources /app /app
RUN command -v node >/dev/null || ln -s /app/node_modules/node-linux-*/bin/node /usr/local/bin/node

# The only place it writes to beside its spool. As a volume it survives the container, and is
# there when the root is read-only; name it, or every new container begins with an empty one.
RUN mkdir -p /var/lib/pyexec && chown 65532:65532 /var/lib/pyexec && chmod 0700 /var/lib/pyexec
VOLUME /var/lib/pyexec

ENV PYEXEC_HOST=0.0.0.0 \
    PYEXEC_PORT=8080 \
    PYEXEC_STATE_DIR=/var/lib/pyexec
WORKDIR /app
# Nobody's uid on the host and none of a sandbox (10000-10255). It owns no file here. The
# daemon's socket is opened through its group: --group-add "$(stat -c %g /var/run/docker.sock)".
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# Ready means: it accepts runs, Docker answers, the sandbox image is there.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PYEXEC_PORT}/ready`, { signal: AbortSignal.timeout(5000) }).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "src/main.ts"]

/**
 * The few calls of the Docker Engine API the set-up makes, over its Unix socket.
 *
 * The API and not the `docker` command: the command is a package of its own on
 * current Debian, and its builder differs from version to version.
 */

import http from 'node:http';
import { EXIT, SetupError, explain } from './report.mjs';

export const DEFAULT_SOCKET = '/var/run/docker.sock';

/** Where the daemon is expected: PYEXEC_DOCKER_SOCKET, else DOCKER_HOST, else Docker's own place. */
export function dockerSocket() {
  const chosen = process.env.PYEXEC_DOCKER_SOCKET;
  if (chosen) return chosen;
  const host = process.env.DOCKER_HOST;
  if (!host) return DEFAULT_SOCKET;
  if (host.startsWith('unix://')) return host.slice('unix://'.length);
  throw new SetupError(
    EXIT.docker,
    `DOCKER_HOST is ${host}, but pyexec needs a Docker daemon on this machine: set it to unix:///path/to/docker.sock or unset it.`,
  );
}

/**
 * @typedef {object} Call
 * @property {string} [method]
 * @property {Record<string, string>} [query]
 * @property {import('node:stream').Readable | undefined} [body] a tar stream
 * @property {number} [timeoutMs]
 * @property {string} [socketPath]
 */

/**
 * @param {string} path
 * @param {Call} [call]
 * @returns {Promise<http.IncomingMessage>}
 */
function send(path, { method = 'GET', query = {}, body, timeoutMs, socketPath = dockerSocket() } = {}) {
  const search = new URLSearchParams(query).toString();
  return new Promise((resolve, reject) => {
    const request = http.request(
      {
        socketPath,
        method,
        path: search ? `${path}?${search}` : path,
        headers: body ? { 'content-type': 'application/x-tar' } : {},
        ...(timeoutMs === undefined ? {} : { signal: AbortSignal.timeout(timeoutMs) }),
      },
      resolve,
    );
    request.on('error', reject);
    if (body) {
      body.on('error', (error) => request.destroy(error));
      body.pipe(request);
    } else {
      request.end();
    }
  });
}

/** @param {http.IncomingMessage} response */
async function text(response) {
  let all = '';
  for await (const chunk of response.setEncoding('utf8')) all += chunk;
  return all;
}

/**
 * A call whose answer is one JSON document or nothing.
 * @param {string} path
 * @param {Call} [call]
 * @returns {Promise<{status: number, body: any}>}
 */
export async function docker(path, call) {
  const response = await send(path, { timeoutMs: 30_000, ...call });
  const body = await text(response);
  const isJson = (response.headers['content-type'] ?? '').includes('json');
  return { status: response.statusCode ?? 0, body: isJson && body ? JSON.parse(body) : body };
}

/**
 * A call that works for a while and reports on it line by line: pull, import, build.
 * @param {string} label
 * @param {string} path
 * @param {Call & {onEvent?: (event: any) => void}} call
 */
export async function dockerStream(label, path, { onEvent = () => undefined, ...call }) {
  const response = await send(path, { method: 'POST', ...call }).catch((error) => {
    throw explain(label, String(error));
  });
  if (response.statusCode !== 200) throw explain(label, await text(response));
  let rest = '';
  let printed = '';
  for await (const chunk of response.setEncoding('utf8')) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines.filter((candidate) => candidate.trim() !== '')) {
      const event = JSON.parse(line);
      if (event.stream) printed = (printed + event.stream).slice(-4000);
      if (event.error) throw explain(label, `${printed}\n${event.error}`);
      onEvent(event);
    }
  }
}

/**
 * @param {string} reference
 * @returns {Promise<any>} the image as the daemon describes it, or undefined
 */
export async function inspectImage(reference) {
  const { status, body } = await docker(`/images/${reference}/json`);
  return status === 200 ? body : undefined;
}

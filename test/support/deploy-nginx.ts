/**
 * Debian's nginx with the shipped configuration: the files of deploy/nginx as they
 * are, with only addresses, ports and folders replaced.
 */
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request as httpsRequest, type RequestOptions } from 'node:https';
import type { IncomingHttpHeaders, IncomingMessage, ClientRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { isRoot, ROOT } from '../../scripts/setup/host.mjs';
import { run } from './deploy-debian.ts';
import { eventually, freePort, start, type TestProcess } from './deploy-process.ts';

const SHIPPED = join(ROOT, 'deploy', 'nginx');

export interface NginxOptions {
  readonly binary: string;
  /** host:port of the service. */
  readonly service: string;
  /** Basic authentication: each user's password is `<user>-password`. */
  readonly users?: readonly string[];
  /** Turns the API keys on instead: their names. */
  readonly keys?: readonly string[];
}

export interface Nginx extends AsyncDisposable {
  readonly port: number;
  readonly plainPort: number;
  readonly certificate: string;
  readonly keys: Readonly<Record<string, string>>;
  readonly accessLog: () => readonly Readonly<Record<string, unknown>>[];
}

export async function startNginx({ binary, service, users = [], keys: keyNames = [] }: NginxOptions): Promise<Nginx> {
  const prefix = mkdtempSync(join(tmpdir(), 'pyexec-nginx-'));
  const [port, plainPort] = [await freePort(), await freePort()];
  chmodSync(prefix, 0o755);
  for (const folder of ['conf.d', 'pyexec', 'secrets', 'log', 'tmp']) mkdirSync(join(prefix, folder));

  const certificate = makeCertificate(join(prefix, 'secrets'));
  writeFileSync(join(prefix, 'secrets', 'htpasswd'), users.map(passwordLine).join(''));
  const keys = Object.fromEntries(keyNames.map((name) => [name, `${name}.${randomBytes(32).toString('hex')}`]));
  writeFileSync(join(prefix, 'secrets', 'api-keys.map'), Object.values(keys).map(keyLine).join(''));

  cpSync(join(SHIPPED, 'pyexec'), join(prefix, 'pyexec'), { recursive: true });
  const configuration = replaced(readFileSync(join(SHIPPED, 'pyexec.conf'), 'utf8'), [
    ['443 ssl http2 default_server;', `127.0.0.1:${String(port)} ssl http2 default_server;`],
    ['[::]:127.0.0.1:', '[::1]:'],
    ['listen      80 default_server;', `listen      127.0.0.1:${String(plainPort)} default_server;`],
    ['listen      [::]:80 default_server;', ''],
    ...(keyNames.length === 0
      ? []
      : ([
          ['        include /etc/nginx/pyexec/auth-basic.conf;', ''],
          ['#include /etc/nginx/pyexec/auth-api-key.conf;', 'include /etc/nginx/pyexec/auth-api-key.conf;'],
        ] as const)),
    ['/etc/nginx/pyexec/', `${prefix}/pyexec/`],
    ['/etc/nginx/pyexec-secrets/', `${prefix}/secrets/`],
    ['/var/log/nginx/', `${prefix}/log/`],
  ]);
  writeFileSync(join(prefix, 'conf.d', 'pyexec.conf'), configuration);
  replaceIn(join(prefix, 'pyexec', 'upstream.conf'), [['127.0.0.1:8080', service]]);
  for (const part of ['tls.conf', 'auth-basic.conf']) {
    replaceIn(join(prefix, 'pyexec', part), [['/etc/nginx/pyexec-secrets/', `${prefix}/secrets/`]]);
  }
  writeFileSync(join(prefix, 'nginx.conf'), mainConfiguration(prefix));

  const server = start(binary, ['-p', prefix, '-c', join(prefix, 'nginx.conf'), '-e', join(prefix, 'log', 'boot.log')]);
  const nginx: Nginx = {
    port,
    plainPort,
    certificate,
    keys,
    accessLog: () =>
      readFileSync(join(prefix, 'log', 'access.log'), 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      rmSync(prefix, { recursive: true, force: true });
    },
  };
  await waitUntilItAnswers(nginx, server);
  return nginx;
}

async function waitUntilItAnswers(nginx: Nginx, server: TestProcess): Promise<void> {
  try {
    await eventually('nginx', () => call(nginx, { path: '/' }).catch(() => undefined), { owner: server });
  } catch (error) {
    await nginx[Symbol.asyncDispose]();
    throw error;
  }
}

/** What Debian's own nginx.conf does around conf.d/, in a folder of ours. */
function mainConfiguration(prefix: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
${isRoot() ? 'user www-data;' : ''}
daemon off;
worker_processes 1;
pid ${prefix}/nginx.pid;
error_log ${prefix}/log/error.log warn;
events { worker_connections 512; }
http {
${temporary.map((name) => `    ${name}_temp_path ${prefix}/tmp/${name};`).join('\n')}
    include ${prefix}/conf.d/*.conf;
}
`;
}

/** Each text to be replaced must be there: otherwise the shipped file and this one have drifted apart. */
function replaced(content: string, replacements: readonly (readonly [string, string])[]): string {
  return replacements.reduce((before, [from, to]) => {
    if (!before.includes(from)) throw new Error(`deploy/nginx has no ${from}`);
    return before.replaceAll(from, to);
  }, content);
}

function replaceIn(path: string, replacements: readonly (readonly [string, string])[]): void {
  writeFileSync(path, replaced(readFileSync(path, 'utf8'), replacements));
}

/** @returns the certificate, to be trusted by clients. */
export function makeCertificate(folder: string): string {
  const [key, certificate] = [join(folder, 'tls.key'), join(folder, 'tls.crt')];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  run('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', certificate]);
  return readFileSync(certificate, 'utf8');
}

/** As deploy/nginx/README.md has it: `openssl passwd -6`. */
export function passwordLine(user: string): string {
  return `${user}:${run('openssl', ['passwd', '-6', '-stdin'], { input: `${user}-password\n` }).trim()}\n`;
}

/** As deploy/nginx/README.md has it: base64url(md5(secret)). */
function keyLine(key: string): string {
  const [name = '', secret = ''] = key.split('.');
  return `${name} ${createHash('md5').update(secret).digest('base64url')};\n`;
}

export interface Call {
  readonly method?: string;
  readonly path: string;
  /** Sends this user's right password. */
  readonly user?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** An answer whose body has not been read yet. */
export interface OpenAnswer {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
}

const JSON_BODY = { 'content-type': 'application/json' };

export const authorization = (user: string, password = `${user}-password`) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

/** Begins a request over a TLS connection of its own; the body is the caller's to write where none is given. */
export function begin(nginx: Pick<Nginx, 'port' | 'certificate'>, options: Call & { readonly open?: boolean }) {
  const { method = options.body === undefined ? 'GET' : 'POST', path, user, headers, body, open = false } = options;
  const request: RequestOptions = {
    host: '127.0.0.1',
    port: nginx.port,
    method,
    path,
    headers: {
      ...(body === undefined ? {} : JSON_BODY),
      ...(user === undefined ? {} : authorization(user)),
      ...headers,
    },
    agent: new Agent({ ca: nginx.certificate, keepAlive: false }),
  };
  const sent = httpsRequest(request);
  const response = new Promise<OpenAnswer>((resolve, reject) => {
    sent.on('error', reject);
    sent.on('response', (incoming) => {
      resolve({ request: sent, response: incoming });
    });
  });
  if (!open) sent.end(body);
  return { request: sent, response };
}

export async function call(nginx: Pick<Nginx, 'port' | 'certificate'>, options: Call): Promise<Answer> {
  const { response } = await begin(nginx, options).response;
  return { status: response.statusCode ?? 0, headers: response.headers, text: await text(response) };
}

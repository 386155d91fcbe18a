/**
 * docker-compose.yml, started for real against this machine's daemon: the service
 * built offline from the Dockerfile, behind nginx, watched by Prometheus.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, chmodSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { docker, dockerSocket } from '../../scripts/setup/docker-api.mjs';
import { ROOT } from '../../scripts/setup/host.mjs';
import { debianCommand, run } from '../support/deploy-debian.ts';
import {
  buildNginxStandIn,
  buildPrometheusStandIn,
  composeCommand,
  localBase,
  removeImages,
} from '../support/deploy-images.ts';
import { begin, call, makeCertificate, passwordLine } from '../support/deploy-nginx.ts';
import { eventually, freePort } from '../support/deploy-process.ts';

const compose = await composeCommand();
const nginx = await debianCommand('nginx', 'nginx-light');
const prometheus = await debianCommand('prometheus', 'prometheus');

const NDJSON = { accept: 'application/x-ndjson' };
const EXEC = '/api/v1/exec';

interface Container {
  readonly State: { readonly Status: string; readonly ExitCode: number; readonly Health?: { readonly Status: string } };
  readonly HostConfig: { readonly Binds: readonly string[] | null };
  readonly NetworkSettings: {
    readonly Ports: Readonly<Record<string, unknown>>;
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>>;
  };
}

describe.skipIf(!compose || !nginx || !prometheus)('docker-compose.yml', () => {
  const instance = `test-compose-${randomUUID()}`;
  const project = `pyexectest${instance.slice(-12)}`;
  const folder = mkdtempSync(join(tmpdir(), 'pyexec-compose-'));
  const images = {
    SERVICE_IMAGE: `pyexec-test-service:${project}`,
    NGINX_IMAGE: `pyexec-test-nginx:${project}`,
    PROMETHEUS_IMAGE: `pyexec-test-prometheus:${project}`,
  };
  let environment: NodeJS.ProcessEnv;
  let edge: { readonly port: number; readonly certificate: string };
  let prometheusUrl: string;

  /** Runs Compose on the shipped file; the test's own adds what only a test needs. */
  const composed = (...args: string[]) => {
    const files = ['-f', join(ROOT, 'docker-compose.yml'), '-f', join(folder, 'test.yml')];
    const [command = '', ...rest] = compose ?? [];
    return run(command, [...rest, '-p', project, ...files, ...args], { env: environment, cwd: ROOT });
  };
  /** Asked of the daemon by Compose's label: Compose itself takes a second to answer. */
  const containerId = (service: string) => {
    const labels = [`com.docker.compose.project=${project}`, `com.docker.compose.service=${service}`];
    return run('docker', [
      'ps',
      '-aq',
      '--no-trunc',
      ...labels.flatMap((label) => ['--filter', `label=${label}`]),
    ]).trim();
  };
  const inspected = async (service: string): Promise<Container> =>
    (await docker(`/containers/${containerId(service)}/json`)).body as Container;
  const inService = (...args: string[]) => run('docker', ['exec', containerId('pyexec'), ...args]);
  const containersOfOurs = async () => {
    const filters = JSON.stringify({ label: [`pyexec.instance=${instance}`] });
    const { body } = (await docker('/containers/json', { query: { all: '1', filters } })) as { body: unknown[] };
    return body.length;
  };

  beforeAll(async () => {
    const secrets = join(folder, 'secrets');
    mkdirSync(secrets);
    const certificate = makeCertificate(secrets);
    writeFileSync(join(secrets, 'htpasswd'), passwordLine('alice'));
    // nginx runs as uid 101 from the start; deploy/nginx/README.md gives it the files.
    chmodSync(folder, 0o755);
    chmodSync(join(secrets, 'tls.key'), 0o644);
    // The build has no network: what it needs is on this machine. And nobody waits for the usual pace.
    writeFileSync(
      join(folder, 'test.yml'),
      JSON.stringify({
        services: {
          pyexec: {
            build: { network: 'none' },
            environment: { PYEXEC_SHUTDOWN_GRACE: '1' },
            healthcheck: { interval: '1s' },
          },
        },
      }),
    );
    const [https, http, prometheusPort] = [await freePort(), await freePort(), await freePort()];
    environment = {
      ...process.env,
      ...images,
      SERVICE_BASE: await localBase(),
      SERVICE_INSTANCE: instance,
      DOCKER_SOCKET: dockerSocket(),
      DOCKER_GID: String(statSync(dockerSocket()).gid),
      NGINX_SECRETS: secrets,
      HTTPS_PORT: `127.0.0.1:${String(https)}`,
      HTTP_PORT: `127.0.0.1:${String(http)}`,
      PROMETHEUS_PORT: String(prometheusPort),
      // No plugin, no BuildKit: the classic builder is in every daemon.
      DOCKER_BUILDKIT: '0',
      COMPOSE_DOCKER_CLI_BUILD: '0',
    };
    edge = { port: https, certificate };
    prometheusUrl = `http://127.0.0.1:${String(prometheusPort)}`;
    await buildNginxStandIn(images.NGINX_IMAGE);
    await buildPrometheusStandIn(images.PROMETHEUS_IMAGE);
    composed('build', 'pyexec');
    composed('up', '--detach', '--no-build');
  }, 180_000);

  afterAll(async () => {
    composed('down', '--volumes', '--timeout', '30');
    await removeImages(Object.values(images));
    rmSync(folder, { recursive: true, force: true });
  });

  it('starts in order: nginx and Prometheus once the service can run something', async () => {
    const service = await inspected('pyexec');
    expect(service.State).toMatchObject({ Status: 'running', Health: { Status: 'healthy' } });
    expect((await inspected('nginx')).State.Status).toBe('running');
    expect((await inspected('prometheus')).State.Status).toBe('running');
  });

  it('runs a program, asked through nginx', async () => {
    const body = JSON.stringify({ code: 'import sys\nprint("hello from", sys.version_info[:1])' });
    const answer = await call(edge, { path: EXEC, user: 'alice', body });
    expect(answer.status, answer.text).toBe(200);
    expect(JSON.parse(answer.text)).toMatchObject({ stdout: 'hello from (3,)\n', exit_code: 0 });
    expect((await call(edge, { path: EXEC, body })).status).toBe(401);
    expect((await call(edge, { path: '/metrics', user: 'alice' })).status).toBe(404);
  });

  it('gives the service its socket and little else', async () => {
    const probe = [
      'import os, socket, errno',
      'def attempt(do):',
      '    try: do(); return "done"',
      '    except OSError as error: return errno.errorcode[error.errno]',
      'status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)',
      'daemon = socket.socket(socket.AF_UNIX)',
      'print(os.getuid(), status["CapEff"].strip(), status["CapBnd"].strip(), status["NoNewPrivs"].strip(),',
      '      attempt(lambda: open("/app/src/main.ts", "a")), attempt(lambda: open("/x", "w")),',
      '      attempt(lambda: open("/spool/x", "w")), attempt(lambda: daemon.connect("/var/run/docker.sock")))',
    ].join('\n');
    const none = '0000000000000000';
    expect(inService('python3', '-c', probe).trim()).toBe(`65532 ${none} ${none} 1 EACCES EROFS done done`);

    const mounts = await Promise.all(
      ['pyexec', 'nginx', 'prometheus'].map(async (name) => (await inspected(name)).HostConfig.Binds ?? []),
    );
    expect(mounts.map((binds) => binds.some((bind) => bind.includes('docker.sock')))).toEqual([true, false, false]);
  });

  it('keeps the networks apart', async () => {
    const networks = async (service: string) =>
      Object.keys((await inspected(service)).NetworkSettings.Networks)
        .map((name) => name.replace(`${project}_`, ''))
        .sort();
    expect(await networks('pyexec')).toEqual(['backend', 'metrics']);
    expect(await networks('nginx')).toEqual(['backend', 'edge']);
    expect(await networks('prometheus')).toEqual(['metrics', 'operator']);
    const isInternal = async (name: string) =>
      ((await docker(`/networks/${project}_${name}`)).body as { Internal: boolean }).Internal;
    expect(await Promise.all(['backend', 'metrics', 'edge', 'operator'].map(isInternal))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    // Nothing of the service is published on the host.
    const published = Object.values((await inspected('pyexec')).NetworkSettings.Ports).filter(
      (ports) => ports !== null,
    );
    expect(published).toEqual([]);
  });

  it('builds an image without what only development needs', () => {
    const modules = inService('ls', '/app/node_modules').split('\n');
    expect(modules).toContain('fastify');
    expect(modules.filter((name) => ['typescript', 'vitest', 'eslint', 'undici', 'prettier'].includes(name))).toEqual(
      [],
    );
    expect(inService('sh', '-c', 'command -v npm npx corepack; ls /app')).toBe(
      'LICENSE\nnode_modules\npackage.json\nseccomp\nsrc\n',
    );
    expect(inService('node', '--version')).toMatch(/^v24\./);
  });

  describe('Prometheus', () => {
    const ask = async (path: string) =>
      ((await (await fetch(`${prometheusUrl}${path}`)).json()) as { data: Record<string, unknown> }).data;
    const query = async (expression: string) => {
      const { result } = await ask(`/api/v1/query?query=${encodeURIComponent(expression)}`);
      return (result as { value: [number, string] }[]).map(({ value }) => Number(value[1]));
    };

    it('scrapes the service', async () => {
      await eventually('a scrape', async () => (await query('up{job="pyexec"}'))[0] === 1, { deadlineMs: 30_000 });
      // The scrape may be older than the run; the next one is not.
      await eventually('the run', async () => (await query('pyexec_executions_total{outcome="exited"}'))[0] === 1, {
        deadlineMs: 30_000,
      });
    });

    it('loads every alert, and none fires', async () => {
      const written = readFileSync(join(ROOT, 'deploy/prometheus/alerts.yml'), 'utf8').match(/- alert: /g) ?? [];
      const { groups } = (await ask('/api/v1/rules')) as {
        groups: { rules: { name: string; health: string; state: string }[] }[];
      };
      const rules = groups.flatMap((group) => group.rules);
      expect(rules).toHaveLength(written.length);
      await eventually(
        'an evaluation',
        async () => {
          const now = (await ask('/api/v1/rules')) as typeof groups extends infer G ? { groups: G } : never;
          return now.groups.flatMap((group) => group.rules).every(({ health }) => health === 'ok');
        },
        { deadlineMs: 30_000 },
      );
      expect(rules.filter(({ state }) => state === 'firing')).toEqual([]);
    });

    it('is asked, by alerts and dashboard, only for series the service has', () => {
      const exposition = inService(
        'node',
        '-e',
        'fetch("http://127.0.0.1:8080/metrics").then(async (r) => console.log(await r.text()))',
      );
      const known = new Set([...exposition.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
      for (const file of ['prometheus/alerts.yml', 'grafana/pyexec.json']) {
        const asked = readFileSync(join(ROOT, 'deploy', file), 'utf8').match(/\bpyexec_[a-z0-9_]+/g) ?? [];
        const unknown = asked
          .map((name) => name.replace(/_(?:bucket|count|sum)$/, ''))
          .filter((name) => !known.has(name));
        expect(asked.length).toBeGreaterThan(10);
        expect(unknown, file).toEqual([]);
      }
    });
  });

  it('the alerts fire for what they are about, and only for that', () => {
    const rules = (what: string, file: string) => run('promtool', [what, what === 'test' ? 'rules' : 'config', file]);
    expect(rules('check', join(ROOT, 'deploy/prometheus/prometheus.yml'))).toContain('SUCCESS');
    expect(rules('test', join(ROOT, 'deploy/prometheus/alerts.test.yml'))).toContain('SUCCESS');
  });

  it('nginx finds a service that was made anew', async () => {
    const before = containerId('pyexec');
    composed('up', '--detach', '--no-build', '--no-deps', '--force-recreate', 'pyexec');
    expect(containerId('pyexec')).not.toBe(before);
    const images = () => call(edge, { path: '/api/v1/images', user: 'alice' });
    await eventually('the service', async () => (await images()).status === 200, { deadlineMs: 20_000 });
  });

  it('stops gracefully: the caller is told, exit 0, no container left', async () => {
    const body = JSON.stringify({ code: 'import time\nprint("started")\ntime.sleep(300)' });
    const { response } = await begin(edge, { path: EXEC, user: 'alice', headers: NDJSON, body }).response;
    let seen = '';
    let stopping: Promise<unknown> | undefined;
    const id = containerId('pyexec');
    for await (const chunk of response.setEncoding('utf8')) {
      seen += String(chunk);
      if (!seen.includes('started')) continue;
      stopping ??= docker(`/containers/${id}/stop`, { method: 'POST', query: { t: '60' }, timeoutMs: 90_000 });
    }
    await stopping;
    expect(JSON.parse(seen.trim().split('\n').at(-1) ?? '')).toMatchObject({ type: 'result', status: 'killed' });
    expect((await inspected('pyexec')).State).toMatchObject({ Status: 'exited', ExitCode: 0 });
    expect(await containersOfOurs()).toBe(0);
  });
});

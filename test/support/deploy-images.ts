/**
 * Images for docker-compose.yml where no registry answers: the service on a base this
 * machine has, and stand-ins for nginx and Prometheus made of the machine's own
 * binaries. Only the images are stand-ins; the compose file is the shipped one.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { docker, dockerStream } from '../../scripts/setup/docker-api.mjs';
import { aptInstall, hasApt, isRoot, which } from '../../scripts/setup/host.mjs';
import { run } from './deploy-debian.ts';

/** `docker compose` where its plugin is, `docker-compose` otherwise. Undefined as debianCommand says. */
export async function composeCommand(): Promise<readonly string[] | undefined> {
  const find = () => {
    const works = (...command: string[]) => spawnSync(command[0] ?? '', [...command.slice(1), 'version']).status === 0;
    if (works('docker', 'compose')) return ['docker', 'compose'];
    return works('docker-compose') ? ['docker-compose'] : undefined;
  };
  const present = find();
  if (present) return present;
  // Where docker.io brings the daemon alone, the command is a package of its own.
  const packages = which('docker') === undefined ? ['docker-compose', 'docker-cli'] : ['docker-compose'];
  if (isRoot() && hasApt()) await aptInstall('for the tests of deploy/', packages);
  const installed = find();
  if (!installed && process.env['CI'] === 'true') {
    throw new Error('Docker Compose is missing: run `sudo apt-get install docker-compose`');
  }
  return installed;
}

interface ImageSummary {
  readonly RepoTags: readonly string[] | null;
}

/** An image of this machine the service can be built on: the sandboxes' base, or a sandbox image. */
export async function localBase(): Promise<string> {
  const { body } = (await docker('/images/json')) as { body: readonly ImageSummary[] };
  const tags = body.flatMap(({ RepoTags }) => RepoTags ?? []);
  const base = tags.find((tag) => tag.startsWith('pyexec/base:')) ?? tags.find((tag) => tag === 'pyexec/slim:latest');
  if (base === undefined) throw new Error('there is no pyexec/base and no pyexec/slim: run npm run setup');
  return base;
}

/** Laid out as docker.io/nginxinc/nginx-unprivileged is: its paths, its uid, its main configuration. */
export async function buildNginxStandIn(tag: string): Promise<void> {
  await buildFromBinary(tag, which('nginx') ?? '', '/usr/sbin/nginx', {
    prepare: (root) => {
      mkdirSync(join(root, 'etc/nginx/conf.d'), { recursive: true });
      mkdirSync(join(root, 'var/log/nginx'), { recursive: true });
      symlinkSync('/dev/stdout', join(root, 'var/log/nginx/access.log'));
      symlinkSync('/dev/stderr', join(root, 'var/log/nginx/error.log'));
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
      writeFileSync(
        join(root, 'etc/nginx/nginx.conf'),
        `worker_processes 2; pid /tmp/nginx.pid; events { worker_connections 1024; }
http { ${temporary.map((name) => `${name}_temp_path /tmp/${name};`).join(' ')} include /etc/nginx/conf.d/*.conf; }\n`,
      );
    },
    instructions: 'USER 101\nENTRYPOINT ["/usr/sbin/nginx", "-g", "daemon off;"]',
  });
}

/** Laid out as docker.io/prom/prometheus is. */
export async function buildPrometheusStandIn(tag: string): Promise<void> {
  await buildFromBinary(tag, which('prometheus') ?? '', '/bin/prometheus', {
    prepare: (root) => {
      mkdirSync(join(root, 'prometheus'));
      // The named volume takes this folder's mode; the official image has it owned by its uid.
      chmodSync(join(root, 'prometheus'), 0o777);
    },
    instructions: 'USER 65534\nENTRYPOINT ["/bin/prometheus"]',
  });
}

interface Layout {
  readonly prepare: (root: string) => void;
  readonly instructions: string;
}

/** An image that holds one program of this machine and the libraries it is linked to. */
async function buildFromBinary(tag: string, binary: string, at: string, { prepare, instructions }: Layout) {
  const context = mkdtempSync(join(tmpdir(), 'pyexec-image-'));
  try {
    const root = join(context, 'root');
    for (const folder of ['tmp', 'etc']) mkdirSync(join(root, folder), { recursive: true });
    // A tmpfs takes the mode of the folder it hides.
    chmodSync(join(root, 'tmp'), 0o1777);
    const libraries = run('ldd', [binary]).match(/\/\S+\.so\S*/g) ?? [];
    for (const [from, to] of [[binary, at], ...libraries.map((library) => [library, library])] as [string, string][]) {
      mkdirSync(dirname(join(root, to)), { recursive: true });
      copyFileSync(from, join(root, to));
    }
    prepare(root);
    writeFileSync(join(context, 'Dockerfile'), `FROM scratch\nCOPY root/ /\n${instructions}\n`);
    const tar = spawn('tar', ['--create', '--file=-', `--directory=${context}`, '.'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await dockerStream(`building ${tag}`, '/build', { query: { t: tag, forcerm: '1' }, body: tar.stdout });
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
}

export async function removeImages(tags: readonly string[]): Promise<void> {
  for (const tag of tags) await docker(`/images/${tag}`, { method: 'DELETE', query: { force: '1' } });
  // What the classic builder kept of the service's first stages.
  const filters = JSON.stringify({ dangling: ['true'], label: ['pyexec.stage=service'] });
  await docker('/images/prune', { method: 'POST', query: { filters } });
}

/**
 * A base image from Debian packages, for machines that reach no container registry.
 *
 * debootstrap makes a root file system, or apt-get adds packages to the one of a
 * smaller image; its tarball is kept in the cache under the hash of its recipe,
 * and the daemon imports it as `pyexec/base:<hash>`. Needs root, as debootstrap does.
 */

import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { dockerStream, inspectImage } from './docker-api.mjs';
import { ROOT, aptInstall, cacheFolder, hasApt, isRoot, requireSpace, which } from './host.mjs';
import { EXIT, SetupError, explain, progress, runStep, say } from './report.mjs';

const MIRROR = process.env.DEBIAN_MIRROR || 'http://deb.debian.org/debian';
const SECURITY_MIRROR = process.env.DEBIAN_SECURITY_MIRROR || 'http://deb.debian.org/debian-security';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const SCRIPTS = '/usr/share/debootstrap/scripts';
const WORK_PREFIX = 'debootstrap-';

/** Facts of the builder's machine that would otherwise end up in the image. */
const HOST_TRACES = ['etc/resolv.conf', 'etc/hostname', 'etc/machine-id', 'var/log/bootstrap.log'];

/**
 * @typedef {object} OfflineRecipe
 * @property {string} name also of the tarball
 * @property {string} hash of what follows
 * @property {string} suite
 * @property {string[]} packages
 * @property {Readonly<Record<string, string>>} [unneeded] by package, one it says it depends on and runs without
 * @property {OfflineRecipe} [onto] what the packages are added to; without it debootstrap begins from nothing
 */

/**
 * @param {OfflineRecipe} recipe
 * @param {boolean} fromScratch
 * @returns {Promise<{reference: string, pythonVersion: string}>}
 */
export async function ensureOfflineBase(recipe, fromScratch) {
  const reference = `pyexec/base:${recipe.hash}`;
  const present = fromScratch ? undefined : await inspectImage(reference);
  if (present) return { reference, pythonVersion: environmentOf(present).PYTHON_VERSION ?? 'unknown' };

  const tarball = await ensureTarball(recipe, fromScratch);
  const pythonVersion = /-python([\d.]+)\.tar\.gz$/.exec(tarball)?.[1] ?? 'unknown';
  const step = progress(`importing ${reference} into Docker`);
  try {
    await dockerStream('docker import', '/images/create', {
      query: {
        fromSrc: '-',
        repo: 'pyexec/base',
        tag: recipe.hash,
        changes: `ENV PYTHON_VERSION=${pythonVersion}`,
        message: 'Debian packages by debootstrap',
      },
      body: createReadStream(tarball),
    });
  } finally {
    step.abandon();
  }
  return { reference, pythonVersion };
}

/** @param {any} image */
export function environmentOf(image) {
  return Object.fromEntries((image.Config?.Env ?? []).map((/** @type {string} */ entry) => entry.split(/=(.*)/s, 2)));
}

/** @param {OfflineRecipe} recipe @param {boolean} fromScratch @returns {Promise<string>} */
async function ensureTarball(recipe, fromScratch) {
  const kept = fromScratch ? undefined : findTarball(recipe);
  return kept ?? bootstrap(recipe, recipe.onto && (await ensureTarball(recipe.onto, fromScratch)));
}

/** @param {{name: string, hash: string}} recipe */
function findTarball({ name, hash }) {
  const folder = cacheFolder();
  const file = readdirSync(folder).find(
    (entry) => entry.startsWith(`base-${name}-${hash}-`) && entry.endsWith('.tar.gz'),
  );
  return file && join(folder, file);
}

/**
 * @param {OfflineRecipe} recipe
 * @param {string | undefined} onto the tarball of a finished base
 * @returns {Promise<string>} the tarball
 */
async function bootstrap(recipe, onto) {
  await ensureDebootstrap(recipe.name);
  const parent = bootstrapFolder();
  requireSpace(parent, onto ? 4000 : 1500, `Building the ${recipe.name} image`);
  removeLeftovers(parent);
  const target = mkdtempSync(join(parent, WORK_PREFIX));
  const minutes = onto ? 'a minute or two' : 'about a minute';
  say(`building a base of Debian ${recipe.suite} packages for the ${recipe.name} image, ${minutes} (${MIRROR})`);
  try {
    if (onto) {
      await runStep('unpacking the smaller base', 'tar', ['--extract', `--file=${onto}`, `--directory=${target}`]);
      await addPackages(recipe, target);
    } else {
      await runDebootstrap(recipe, target);
      await applySecurityUpdates(recipe.suite, target);
    }
    return await pack(recipe, target);
  } finally {
    removeTree(target);
  }
}

/** Adds the recipe's packages to a base that is there, security updates included. @param {OfflineRecipe} recipe @param {string} target */
async function addPackages({ suite, packages, unneeded = {} }, target) {
  const resolver = '/etc/resolv.conf';
  if (existsSync(resolver)) copyFileSync(resolver, join(target, resolver));
  const script = [
    'export DEBIAN_FRONTEND=noninteractive',
    `apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root update`,
    // Nothing is lost that a second build would not make again, so nobody waits for the disk.
    `apt-get -q -y --no-install-recommends -o Acquire::Retries=3 -o APT::Sandbox::User=root -o Dpkg::Options::=--force-unsafe-io install ${packages.join(' ')}`,
    ...Object.entries(unneeded).map(([name, other]) => `sed -i '${forgetting(name, other)}' /var/lib/dpkg/status`),
    'apt-get -q -y -o APT::AutoRemove::RecommendsImportant=false -o APT::AutoRemove::SuggestsImportant=false autoremove --purge',
    'apt-get clean',
  ].join(' && ');
  await runStep(`packages of ${suite}`, ...inPrivateMounts('chroot', [target, '/bin/sh', '-c', script]));
}

/** For sed: what the package manager knows of a package, without one of its dependencies. @param {string} name @param {string} other */
const forgetting = (name, other) =>
  String.raw`/^Package: ${name}$/,/^$/s/^\(Depends:.*\), ${other}\( ([^)]*)\)\?\(,\|$\)/\1\3/`;

/** @param {string} imageName */
async function ensureDebootstrap(imageName) {
  const packages = ['debootstrap', 'debian-archive-keyring', 'gpgv'];
  const isReady = which('debootstrap') && existsSync(KEYRING) && (which('gpgv') || which('sqv'));
  if (isReady && isRoot()) return;
  if (!isRoot()) {
    const install = isReady || !hasApt() ? '' : `sudo apt-get install -y ${packages.join(' ')} && `;
    throw new SetupError(
      EXIT.permission,
      `No container registry answers, and building the ${imageName} image from Debian packages needs root once: run \`${install}sudo ${process.execPath} ${join(ROOT, 'scripts', 'setup.mjs')}\` and repeat the command.`,
    );
  }
  if (!hasApt()) {
    throw new SetupError(
      EXIT.platform,
      `No container registry answers, and the ${imageName} image can be built without one only where debootstrap is: install debootstrap, debian-archive-keyring and gpgv, and repeat the command.`,
    );
  }
  await aptInstall('to build the sandbox image without a registry', packages);
}

/** debootstrap makes device files and runs what it unpacks, so its folder must allow both. */
function bootstrapFolder() {
  const isUsable = (/** @type {string} */ folder) => {
    const { stdout } = spawnSync('findmnt', ['-no', 'OPTIONS', '-T', folder], { encoding: 'utf8' });
    return !/\b(nodev|noexec)\b/.test(stdout ?? '');
  };
  return [cacheFolder(), '/var/tmp', '/tmp'].find(isUsable) ?? cacheFolder();
}

/**
 * @param {{suite: string, packages: string[]}} recipe
 * @param {string} target
 */
async function runDebootstrap({ suite, packages }, target) {
  const script = join(SCRIPTS, suite);
  await runStep(
    `debootstrap ${suite}`,
    ...inPrivateMounts('debootstrap', [
      '--variant=minbase',
      `--include=${packages.join(',')}`,
      '--force-check-gpg',
      `--keyring=${KEYRING}`,
      suite,
      target,
      MIRROR,
      // An older debootstrap knows no newer suite by name; they all follow sid's script.
      existsSync(script) ? script : join(SCRIPTS, 'sid'),
    ]),
  );
}

/**
 * The suite's security updates, where their server answers. Not worth failing for:
 * the point release debootstrap took is complete in itself.
 * @param {string} suite
 * @param {string} target
 */
async function applySecurityUpdates(suite, target) {
  const source = `deb ${SECURITY_MIRROR} ${suite}-security main\n`;
  writeFileSync(join(target, 'etc/apt/sources.list.d/security.list'), source);
  const script = [
    'export DEBIAN_FRONTEND=noninteractive',
    'apt-get -q -o APT::Update::Error-Mode=any -o Acquire::Retries=2 -o Acquire::http::Timeout=20 update',
    'apt-get -q -y --no-install-recommends upgrade',
    'apt-get clean',
  ].join(' && ');
  try {
    await runStep(`security updates of ${suite}`, ...inPrivateMounts('chroot', [target, '/bin/sh', '-c', script]));
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(`the security updates of ${suite} are not in this image: ${error.detail.split('\n').at(-2) ?? error.message}`);
  }
}

/**
 * What is mounted inside the tree is gone when the command ends, however it ends.
 * @param {string} command
 * @param {string[]} args
 * @returns {[string, string[], {env: NodeJS.ProcessEnv}]}
 */
function inPrivateMounts(command, args) {
  const env = {
    ...process.env,
    LC_ALL: 'C',
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  };
  const path = which(command) ?? command;
  const unshare = which('unshare');
  return unshare ? [unshare, ['--mount', path, ...args], { env }] : [path, args, { env }];
}

/**
 * @param {{name: string, hash: string}} recipe
 * @param {string} target
 */
async function pack({ name, hash }, target) {
  const python = spawnSync(
    'chroot',
    [target, '/usr/bin/python3', '-IS', '-c', 'import platform; print(platform.python_version())'],
    {
      encoding: 'utf8',
    },
  );
  if (python.status !== 0) throw explain('starting the new Python', python.stderr ?? '');
  for (const trace of HOST_TRACES) rmSync(join(target, trace), { force: true });

  const folder = cacheFolder();
  const tarball = join(folder, `base-${name}-${hash}-python${python.stdout.trim()}.tar.gz`);
  const unfinished = `${tarball}.${process.pid}`;
  const excluded = ['./dev/*', './proc/*', './sys/*', './var/cache/apt/*', './var/lib/apt/lists/*'];
  const args = ['--create', '--one-file-system', '--numeric-owner', '--sort=name', '--use-compress-program=gzip -1'];
  try {
    await runStep('packing it', 'tar', [
      ...args,
      ...excluded.map((path) => `--exclude=${path}`),
      `--file=${unfinished}`,
      `--directory=${target}`,
      '.',
    ]);
    renameSync(unfinished, tarball);
  } finally {
    rmSync(unfinished, { force: true });
  }
  // Bases of earlier recipes, or of the same with an older Python, are not asked for again.
  const outdated = readdirSync(folder).filter(
    (entry) => entry.startsWith(`base-${name}-`) && join(folder, entry) !== tarball,
  );
  for (const entry of outdated) rmSync(join(folder, entry), { force: true });
  return tarball;
}

/** Trees of a set-up that was killed. Only one set-up runs at a time. @param {string} parent */
function removeLeftovers(parent) {
  for (const entry of readdirSync(parent)) {
    const path = join(parent, entry);
    if (entry.startsWith(WORK_PREFIX) && statSync(path).isDirectory()) removeTree(path);
  }
}

/** Never leaves the tree's own file system, so nothing mounted below it is touched. @param {string} path */
function removeTree(path) {
  spawnSync('rm', ['-rf', '--one-file-system', '--', path]);
}

/** A Docker daemon that answers: found, started, or installed from the distribution and started. */

import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_SOCKET, docker, dockerSocket } from './docker-api.mjs';
import { aptInstall, hasApt, hasSystemd, isRoot, userName, which } from './host.mjs';
import { EXIT, SetupError, progress, runStep, say } from './report.mjs';

const START_DEADLINE_MS = 60_000;
const DAEMON_LOG = '/var/log/pyexec-dockerd.log';

export async function ensureDocker() {
  const socket = dockerSocket();
  const state = await probe(socket);
  if (state === 'answers') return;
  if (state === 'forbidden') {
    throw new SetupError(
      EXIT.permission,
      `User ${userName()} may not use the Docker socket ${socket}: run \`sudo usermod -aG docker ${userName()}\`, log in again, and repeat the command.`,
    );
  }
  if (state === 'silent') {
    throw new SetupError(
      EXIT.docker,
      `The Docker daemon at ${socket} accepts connections but does not answer: restart it (with systemd: \`sudo systemctl restart docker\`).`,
    );
  }
  if (socket !== DEFAULT_SOCKET) {
    throw new SetupError(
      EXIT.docker,
      `No Docker daemon answers at ${socket}, which PYEXEC_DOCKER_SOCKET or DOCKER_HOST names: start it, or unset the variable.`,
    );
  }
  if (!which('dockerd')) await install();
  if ((await probe(socket)) !== 'answers') await start(socket);
}

/**
 * @param {string} socket
 * @returns {Promise<'answers' | 'absent' | 'forbidden' | 'silent'>}
 */
async function probe(socket) {
  try {
    const { status } = await docker('/_ping', { socketPath: socket, timeoutMs: 10_000 });
    return status === 200 ? 'answers' : 'silent';
  } catch (error) {
    const { code, name } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === 'EACCES' || code === 'EPERM') return 'forbidden';
    return name === 'TimeoutError' || name === 'AbortError' || code === 'ECONNRESET' ? 'silent' : 'absent';
  }
}

async function install() {
  if (!hasApt()) {
    throw new SetupError(
      EXIT.platform,
      'No Docker daemon answers, and this is no Debian or Ubuntu: install Docker Engine as https://docs.docker.com/engine/install/ says for this system, start it, and repeat the command.',
    );
  }
  const packages = enginePackages();
  if (!isRoot()) {
    throw new SetupError(
      EXIT.permission,
      `No Docker daemon answers: run \`sudo apt-get update && sudo apt-get install -y ${packages.join(' ')} && sudo usermod -aG docker ${userName()}\`, log in again, and repeat the command.`,
    );
  }
  await aptInstall('no Docker daemon answers', packages);
}

function enginePackages() {
  const packages = ['docker.io', 'iptables', 'ca-certificates'];
  if (!hasSystemd() && !hasControlGroups()) packages.push('cgroupfs-mount');
  const appArmor = '/sys/module/apparmor/parameters/enabled';
  if (existsSync(appArmor) && readFileSync(appArmor, 'utf8').startsWith('Y')) packages.push('apparmor');
  return packages;
}

const hasControlGroups = () => existsSync('/sys/fs/cgroup') && readdirSync('/sys/fs/cgroup').length > 0;

/** @param {string} socket */
async function start(socket) {
  if (!isRoot()) {
    const how = hasSystemd() ? 'run `sudo systemctl start docker`' : 'run `sudo dockerd` in another terminal';
    throw new SetupError(
      EXIT.permission,
      `Docker Engine is installed but not running: ${how}, and repeat the command.`,
    );
  }
  if (hasSystemd()) {
    say('starting Docker Engine with systemd');
    await runStep('systemctl start docker', 'systemctl', ['start', 'docker']);
    await waitUntilItAnswers(socket, () => undefined, 'see `journalctl -u docker`');
    return;
  }
  if (!hasControlGroups() && which('cgroupfs-mount')) {
    await runStep('mounting the control groups', 'cgroupfs-mount', []);
  }
  say(`starting Docker Engine in the background (its log: ${DAEMON_LOG})`);
  const log = openSync(DAEMON_LOG, 'a');
  const daemon = spawn(which('dockerd') ?? 'dockerd', [], { detached: true, stdio: ['ignore', log, log], cwd: '/' });
  closeSync(log);
  daemon.on('error', () => undefined);
  daemon.unref();
  await waitUntilItAnswers(socket, () => daemon.exitCode ?? daemon.signalCode ?? undefined, `see ${DAEMON_LOG}`);
}

/**
 * @param {string} socket
 * @param {() => number | string | undefined} ended how the daemon ended, if it did
 * @param {string} whereToLook
 */
async function waitUntilItAnswers(socket, ended, whereToLook) {
  const step = progress('waiting for Docker Engine');
  const deadline = Date.now() + START_DEADLINE_MS;
  while (Date.now() < deadline) {
    if ((await probe(socket)) === 'answers') return step.done();
    if (ended() !== undefined) break;
    await sleep(200);
  }
  step.abandon();
  const tail = existsSync(DAEMON_LOG)
    ? readFileSync(DAEMON_LOG, 'utf8').trimEnd().split('\n').slice(-8).join('\n')
    : '';
  const what = ended() === undefined ? 'did not answer within 60 s' : `ended at once (${ended()})`;
  throw new SetupError(EXIT.docker, `Docker Engine was started but ${what}: ${whereToLook}.`, tail);
}

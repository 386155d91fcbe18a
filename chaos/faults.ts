/**
 * What goes wrong: one fault at a time, each mended again before the next.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DockerSocketProxy, Fault, ProxiedCall } from '../test/support/docker-socket-proxy.ts';
import type { PrivateDaemon } from './private-daemon.ts';
import type { Server } from './server.ts';

export interface Target {
  readonly server: Server;
  readonly daemon: PrivateDaemon;
  readonly proxy: DockerSocketProxy;
  readonly random: () => number;
  /** Told how long a server took to answer after it was killed, in ms. */
  readonly recovered: (bootMs: number) => void;
}

const CALLS: readonly ProxiedCall[] = [
  'create',
  'attach',
  'start',
  'update',
  'inspect',
  'kill',
  'remove',
  'list',
  'ping',
];
const FAULTS: readonly Fault[] = [
  ...([404, 409, 500, 'garbage', 'shape', 'eof'] as const),
  ...(['lost', 'cut', 'truncated', 'slow', 'hang'] as const),
];

const oneOf = <T>(items: readonly T[], random: () => number): T => {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error('nothing to choose from');
  return item;
};

async function killServer({ server, random, recovered }: Target): Promise<string> {
  await server.kill();
  const again = random() < 0.4;
  if (again) {
    // Also while it recovers, before it answers or just after.
    const booting = server.boot().catch(() => undefined);
    await Promise.race([booting, sleep(random() * 900)]);
    await server.kill();
    // A boot that was killed tries again by itself.
    await booting;
    await server.kill();
  }
  recovered(await server.boot());
  return again ? 'server killed, and killed while it recovered' : 'server killed';
}

/** For a while, then mended. */
async function meanwhile({ random }: Target, minMs: number, maxMs: number, mend: () => void): Promise<string> {
  const forMs = minMs + random() * (maxMs - minMs);
  await sleep(forMs);
  mend();
  return `for ${forMs.toFixed(0)} ms`;
}

export const FAULT_KINDS: Readonly<Record<string, (target: Target) => Promise<string>>> = {
  'kill server': killServer,
  'pause daemon': async ({ daemon, random }) => {
    const pauseMs = 500 + random() * 4_000;
    daemon.pause();
    await sleep(pauseMs);
    await daemon.resume();
    return `daemon paused for ${pauseMs.toFixed(0)} ms`;
  },
  'kill server while the daemon is paused': async (target) => {
    target.daemon.pause();
    await sleep(target.random() * 1_000);
    await target.server.kill();
    await target.daemon.resume();
    target.recovered(await target.server.boot());
    return 'server killed beside a paused daemon';
  },
  'restart daemon': async ({ daemon }) => {
    await daemon.stop('SIGTERM');
    await daemon.resume();
    return 'daemon restarted';
  },
  'kill daemon': async ({ daemon }) => {
    await daemon.stop('SIGKILL');
    await daemon.resume();
    return 'daemon killed and started';
  },
  'restart daemon, its containers go on': async ({ daemon, random }) => {
    await daemon.keepContainers(true);
    await daemon.stop(random() < 0.5 ? 'SIGTERM' : 'SIGKILL');
    await daemon.resume();
    await daemon.keepContainers(false);
    return 'daemon restarted beside its containers';
  },
  'kill containerd': async ({ daemon }) => {
    daemon.killContainerd();
    await sleep(3_000);
    await daemon.resume();
    return 'containerd killed';
  },
  'kill shims': ({ daemon }) => Promise.resolve(`${String(daemon.killShims())} shims killed`),
  'fill the disk of the daemon': async (target) =>
    `the daemon's disk full ${await meanwhile(target, 500, 4_000, target.daemon.fillDisk())}`,
  'use up the inodes of the daemon': async (target) =>
    `the daemon's inodes used up ${await meanwhile(target, 500, 4_000, target.daemon.fillInodes())}`,
  'stop the server': async (target) => {
    target.server.signal('SIGSTOP');
    return `server stood still ${await meanwhile(target, 500, 8_000, () => {
      target.server.signal('SIGCONT');
    })}`;
  },
  'take the descriptors of the server': async (target) =>
    `no descriptor for the server ${await meanwhile(target, 500, 4_000, target.server.takeDescriptors())}`,
  'move the wall clock': async (target) => {
    const hours = oneOf([-1, 1], target.random);
    const back = target.server.moveWallClock(hours * 3600);
    return `the server's clock ${String(hours)} h off ${await meanwhile(target, 500, 4_000, back)}`;
  },
  'break calls': async ({ proxy, random }) => {
    const call = oneOf(CALLS, random);
    const fault = oneOf(FAULTS, random);
    const times = 1 + Math.floor(random() * 3);
    proxy.fail(call, fault, times);
    await sleep(2_500);
    proxy.heal();
    return `${call} answered ${String(fault)}, ${String(times)} time(s)`;
  },
  'break streams': async ({ proxy, random }) => {
    await sleep(random() * 500);
    proxy.dropAttached();
    return 'every stream broken';
  },
  'fill disk': async ({ server, random }) => {
    const free = server.fillDisk();
    await sleep(500 + random() * 2_500);
    free();
    return 'disk full for a while';
  },
  'kill server with a full disk': async ({ server, random, recovered }) => {
    const free = server.fillDisk();
    await sleep(random() * 1_000);
    await server.kill();
    free();
    recovered(await server.boot());
    return 'server killed with a full disk';
  },
};

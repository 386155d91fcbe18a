/**
 * `npm run chaos`: a mixed load, one job in ten hostile, while the server is killed,
 * stopped, short of descriptors and wrong about the time, the daemon paused, killed and
 * restarted, both disks filled and the socket to the daemon broken call by call; then the
 * claims are checked over what clients were answered.
 *
 *   npm run chaos -- --minutes 3 --clients 8 --seed 1
 *   npm run chaos -- --minutes 2 --only 'kill shims,kill containerd'
 *   npm run chaos -- --soak 5000
 *
 * Exit status 1 when a claim does not hold.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { DockerSocketProxy } from '../test/support/docker-socket-proxy.ts';
import { SLIM } from '../test/support/images.ts';
import { FAULT_KINDS, type Target } from './faults.ts';
import { History } from './history.ts';
import { client, expectHealed, look, type Load } from './load.ts';
import { PrivateDaemon } from './private-daemon.ts';
import { Server } from './server.ts';
import { soak } from './soak.ts';

const RECOVERY_MS_MAX = 15_000;
const SETTLE_MS = 60_000;

/** mulberry32: the same faults and jobs for the same seed; the moments they meet at are never the same. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '3' },
    clients: { type: 'string', default: '8' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    only: { type: 'string' },
    soak: { type: 'string' },
  },
});

async function chaos(): Promise<number> {
  const random = seeded(Number(values.seed));
  console.log(`seed ${values.seed}, ${values.minutes} minutes, ${values.clients} clients`);
  await using daemon = await PrivateDaemon.start([SLIM]);
  await using proxy = await DockerSocketProxy.start(daemon.socketPath);
  await using server = await Server.start({ PYEXEC_DOCKER_SOCKET: proxy.socketPath, PYEXEC_DEFAULT_IMAGE: SLIM });
  const history = new History();
  let isOver = false;
  const load: Load = { origin: () => server.origin, history, random, isOver: () => isOver };
  const recoveriesMs: number[] = [];
  const target: Target = { server, daemon, proxy, random, recovered: (bootMs) => recoveriesMs.push(bootMs) };
  const clients = Array.from({ length: Number(values.clients) }, () => client(load));
  const faults: Record<string, number> = {};
  const kinds = values.only?.split(',') ?? Object.keys(FAULT_KINDS);
  const unknown = kinds.find((kind) => !(kind in FAULT_KINDS));
  if (unknown !== undefined)
    throw new Error(`no such fault: ${unknown}; there is ${Object.keys(FAULT_KINDS).join(', ')}`);
  const end = performance.now() + Number(values.minutes) * 60_000;
  while (performance.now() < end) {
    await sleep(1_000 + random() * 3_000);
    const kind = kinds[Math.floor(random() * kinds.length)] ?? '';
    const told = await FAULT_KINDS[kind]?.(target);
    faults[kind] = (faults[kind] ?? 0) + 1;
    console.log(
      `${new Date().toISOString()} ${told ?? ''}; ${String(history.accepted.size)} accepted, ${String(history.violations.length)} violations`,
    );
  }
  isOver = true;
  await Promise.all(clients);
  console.log('the faults are over; waiting for every accepted execution to end');
  for (const deadline = performance.now() + SETTLE_MS; performance.now() < deadline; await sleep(500)) {
    const open = [...history.accepted.values()].filter(({ ended }) => !ended);
    if (open.length === 0) break;
    for (const accepted of open) await look(load, accepted);
  }
  await expectHealed(load, 'after the faults');
  // Once more, after a clean restart: what ended stays as it was.
  await server.stop();
  await server.boot();
  await expectHealed(load, 'after a restart');
  for (const accepted of history.accepted.values()) {
    if (!(await look(load, accepted))) history.violated('I1', `${accepted.id} is not told after the faults are over`);
  }
  history.check();
  const slowestMs = Math.max(0, ...recoveriesMs);
  if (slowestMs > RECOVERY_MS_MAX) history.violated('I8', `a recovery took ${slowestMs.toFixed(0)} ms`);
  await server.stop();
  for (const how of server.endedByItself) history.violated('I7', `the server ended by itself: ${how}`);
  await sleep(1_000);
  const left = [...daemon.containers('pyexec.instance'), ...daemon.volumes()];
  if (left.length > 0) history.violated('I5', `left behind: ${left.join(' ')}`);
  // No fault here is one the service has no word for.
  const unexpected = server.log.split('\n').filter((line) => line.includes('"code":"internal"'));
  if (unexpected.length > 0) history.violated('I7', `${String(unexpected.length)} times the log says internal`);
  const strays = server.executionDirectories().filter((id) => !history.accepted.has(id));
  console.log(
    JSON.stringify(
      {
        faults,
        accepted: history.accepted.size,
        answers: history.counts,
        recoveries: recoveriesMs.length,
        slowest_recovery_ms: Math.round(slowestMs),
        directories_of_unanswered_executions: strays.length,
        violations: history.violations,
      },
      undefined,
      2,
    ),
  );
  for (const line of unexpected.slice(0, 10)) console.log(`internal: ${line.slice(0, 1_000)}`);
  if (history.violations.length > 0) console.log(`the end of the server's log:\n${server.log.slice(-4000)}`);
  return history.violations.length === 0 ? 0 : 1;
}

process.exitCode = values.soak === undefined ? await chaos() : await soak(Number(values.soak));

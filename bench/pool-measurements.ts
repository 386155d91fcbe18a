/**
 * What a pool of warm sandboxes costs others: a running program while it is refilled,
 * and the machine while nobody asks for anything.
 */
import Docker from 'dockerode';
import { LABEL } from '../src/sandbox/container-labels.ts';
import { Service } from './service.ts';
import { summarize } from './statistics.ts';

/** A fixed amount of work, timed by itself: wall time in seconds on stdout. */
const CPU_BOUND = `
import time
started = time.perf_counter()
total = 0
for number in range(6_000_000):
    total += number * number % 7
print(time.perf_counter() - started)
`;

async function loopSeconds(service: Service): Promise<number> {
  const { statusCode, result } = await service.exec({ code: CPU_BOUND });
  const seconds = Number(result['stdout']);
  if (statusCode !== 200 || !(seconds > 0)) throw new Error(`answered ${JSON.stringify(result)}`);
  return seconds;
}

/** Wall time of a CPU-bound run beside a pool that is refilled, over that of a service that keeps no pool. */
export async function slowdownWhileRefilling(rounds: number): Promise<number> {
  await using service = await Service.start({ PYEXEC_POOL_SIZE: '6' });
  await using alone = await Service.start({ PYEXEC_POOL_SIZE: '0' });
  const resting: number[] = [];
  const refilling: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    resting.push(await loopSeconds(alone));
    await service.whenPoolIsFull();
    await Promise.all(Array.from({ length: 4 }, () => service.exec({ code: 'pass' })));
    refilling.push(await loopSeconds(service));
  }
  return summarize(refilling).p50 / summarize(resting).p50;
}

/** CPU time of the service and of all its waiting sandboxes together, in milliseconds, over `seconds` of rest. */
export async function cpuAtRestMs(members: number, seconds: number): Promise<{ service: number; sandboxes: number }> {
  await using service = await Service.start({ PYEXEC_POOL_SIZE: String(members) });
  await service.whenPoolIsFull();
  // V8 still puts in order what the start left.
  await new Promise((resolve) => setTimeout(resolve, 20_000));
  const docker = new Docker();
  const listed = await docker.listContainers({ filters: { label: [`${LABEL.instance}=${service.instance}`] } });
  const sandboxesMs = async () => {
    let nanoseconds = 0;
    for (const { Id } of listed) {
      const stats = await docker.getContainer(Id).stats({ stream: false, 'one-shot': true });
      nanoseconds += stats.cpu_stats.cpu_usage.total_usage;
    }
    return nanoseconds / 1e6;
  };
  const before = { service: service.cpuMs(), sandboxes: await sandboxesMs() };
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  return { service: service.cpuMs() - before.service, sandboxes: (await sandboxesMs()) - before.sandboxes };
}

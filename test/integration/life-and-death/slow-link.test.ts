/** What a program wrote arrives whole, and so does its end, where the link to the host stands still for longer than the engine waits. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import { DockerSocketProxy } from '../../support/docker-socket-proxy.ts';
import { projectOf, runRequest, startEngine } from '../../support/engine.ts';

/** A container that has ended is waited for two seconds by the engine, and what it wrote is then dropped. */
const STILL_MS = 4_000;
/** Around what sockets and pipes between a container and the host hold: it has ended, and not all of it is in the last socket. */
const SIZES = Array.from({ length: 12 }, (_, step) => 400_000 + step * 20_000);

test('output that is read seconds after the program has ended', async () => {
  await using proxy = await DockerSocketProxy.start();
  await using engine = await startEngine({
    PYEXEC_DOCKER_SOCKET: proxy.socketPath,
    PYEXEC_POOL_SIZE: '0',
    PYEXEC_MAX_CONCURRENT: String(SIZES.length),
  });
  const { executions } = engine.engine;
  const runs = await Promise.all(
    SIZES.map(async (bytes) => {
      const code = `import sys, time\nprint("here", flush=True)\ntime.sleep(4)\nsys.stdout.write("x" * ${String(bytes)})`;
      const run = await executions.submit(runRequest(), await projectOf(engine.engine, code), ANONYMOUS);
      for await (const { lastSeq } of run.follow(0, new AbortController().signal)) if (lastSeq >= 3) break;
      return run;
    }),
  );
  const goOn = proxy.holdAttached();
  await sleep(4_000 + STILL_MS);
  goOn();
  await Promise.all(runs.map(({ ended }) => ended));
  const results = await Promise.all(runs.map((run) => run.snapshot()));
  expect(results.map(({ outcome, stdout }) => [outcome?.kind, stdout?.length])).toEqual(
    SIZES.map((bytes) => ['exited', bytes + 5]),
  );
});

/**
 * What a hundred thousand stored executions cost: the same requests to two services,
 * one with next to nothing stored and one with that many, in turns.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExecutionStore } from '../src/store/execution-store.ts';
import { StateDirectory } from '../src/store/state-directory.ts';
import { fillStore } from '../test/support/stored-executions.ts';
import { PROGRAM } from './baselines.ts';
import { Service } from './service.ts';

const FEW = 10;

export interface StoreSamples {
  /** Milliseconds over HTTP, each: of a warm run, and of fetching one that is stored. */
  readonly run: readonly number[];
  readonly fetch: readonly number[];
}

/** `runs` warm runs and `fetches` fetches of each service. */
export async function storeSamples(
  stored: number,
  runs: number,
  fetches: number,
): Promise<{ readonly few: StoreSamples; readonly many: StoreSamples }> {
  const directory = mkdtempSync(join(tmpdir(), 'pyexec-bench-store-'));
  try {
    const few = filled(join(directory, 'few'), FEW);
    const many = filled(join(directory, 'many'), stored);
    await using fewService = await Service.start(few.settings);
    await using manyService = await Service.start(many.settings);
    const sides = [
      { service: fewService, id: few.first, samples: { run: [] as number[], fetch: [] as number[] } },
      { service: manyService, id: many.first, samples: { run: [] as number[], fetch: [] as number[] } },
    ] as const;
    for (let round = -2; round < runs; round += 1) {
      for (const { service, samples } of sides) {
        // Of both: the refill of one would be felt by the other.
        for (const side of sides) await side.service.whenPoolIsFull();
        const ms = await timed(async () => {
          const { statusCode, result } = await service.exec({ code: PROGRAM });
          if (statusCode !== 200 || result['stdout'] !== '1\n') throw new Error(`answered ${JSON.stringify(result)}`);
        });
        if (round >= 0) samples.run.push(ms);
      }
    }
    for (let round = -20; round < fetches; round += 1) {
      for (const { service, id, samples } of sides) {
        const ms = await timed(async () => {
          const { statusCode } = await service.get(`/api/v1/executions/${id}`);
          if (statusCode !== 200) throw new Error(`answered ${String(statusCode)}`);
        });
        if (round >= 0) samples.fetch.push(ms);
      }
    }
    return { few: sides[0].samples, many: sides[1].samples };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** A state directory with so many executions, the settings for a service on it, and the id of one. */
function filled(path: string, count: number) {
  const state = StateDirectory.open(path);
  new ExecutionStore(state, { ttlMs: 1e9, bytesMax: 1e12, countMax: 1e9 }).close();
  state.close();
  const first = fillStore(join(path, 'state.sqlite'), count);
  const settings = {
    PYEXEC_STATE_DIR: path,
    PYEXEC_POOL_SIZE: '2',
    PYEXEC_CLEANUP_TTL: '86400',
    PYEXEC_STORE_MAX_EXECUTIONS: String(10 * count + 10_000),
  };
  return { first, settings };
}

/**
 * One engine for a file of isolation tests, and the check that nothing of it is
 * left on the daemon when the file ends.
 */
import { ANONYMOUS } from '../../src/domain/caller.ts';
import { randomUUID } from 'node:crypto';
import Docker from 'dockerode';
import { afterAll, beforeAll, expect } from 'vitest';
import { parseConfig } from '../../src/config/config.ts';
import type { Execution } from '../../src/domain/execution.ts';
import type { RunRequest } from '../../src/domain/plan.ts';
import { LABEL } from '../../src/sandbox/container-labels.ts';
import { projectOf, runRequest, startEngine, type Files, type TestEngine } from './engine.ts';
import { factsOf, type Facts } from './isolation-probe.ts';

const { PYEXEC_DOCKER_SOCKET } = parseConfig({});
/** The daemon itself, for what a test has to see or build beside the service. */
export const docker = new Docker({ socketPath: PYEXEC_DOCKER_SOCKET });

export interface FileSandbox {
  /** The engine, once the file's first test runs. */
  readonly engine: TestEngine;
  run(program: string | Files, request?: Partial<RunRequest>): Promise<Execution>;
  /** Starts a run without waiting for its end. */
  submit(
    program: string | Files,
    request?: Partial<RunRequest>,
  ): ReturnType<TestEngine['engine']['executions']['submit']>;
  /** Runs a probe, which must end by itself, and returns what it found. */
  facts(program: string | Files, request?: Partial<RunRequest>): Promise<Facts>;
}

/** Starts the engine before the first test of the calling file and ends it after the last one. */
export function sandboxForFile(settings: Readonly<Record<string, string>> = {}): FileSandbox {
  const instance = `test-${randomUUID()}`;
  let started: TestEngine | undefined;
  const engine = (): TestEngine => {
    if (!started) throw new Error('the engine has not started');
    return started;
  };
  beforeAll(async () => {
    started = await startEngine({ ...settings, PYEXEC_INSTANCE: instance });
  });
  afterAll(async () => {
    await started?.[Symbol.asyncDispose]();
    expect(await containersWith(`${LABEL.instance}=${instance}`), 'containers left behind').toEqual([]);
  });
  return {
    get engine() {
      return engine();
    },
    run: (program, request) => engine().run(program, request),
    submit: async (program, request) =>
      engine().engine.executions.submit(runRequest(request), await projectOf(engine().engine, program), ANONYMOUS),
    facts: async (program, request) => {
      const execution = await engine().run(program, request);
      expect(execution.outcome, execution.stderr).toMatchObject({ kind: 'exited' });
      return factsOf({ stdout: execution.stdout ?? '', stderr: execution.stderr ?? '' });
    },
  };
}

/** Names of all containers that have the label, running or not. */
async function containersWith(label: string): Promise<string[]> {
  const containers = await docker.listContainers({ all: true, filters: { label: [label] } });
  return containers.flatMap(({ Names }) => Names);
}

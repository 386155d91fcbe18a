/**
 * The real engine against the real Docker daemon, without the HTTP door: for tests
 * that ask what a program meets inside a sandbox.
 */
import { ANONYMOUS } from '../../src/domain/caller.ts';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { buildEngine, type Engine } from '../../src/engine.ts';
import { buildProject } from '../../src/archive/build-project.ts';
import { parseConfig } from '../../src/config/config.ts';
import type { Execution } from '../../src/domain/execution.ts';
import type { RunRequest } from '../../src/domain/plan.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { SLIM } from './images.ts';
import { temporaryStateDirectory } from './state-directory.ts';

export type Files = Readonly<Record<string, string | Uint8Array>>;

export interface TestEngine extends AsyncDisposable {
  readonly engine: Engine;
  /** Runs files (or one main.py) to the end and returns the execution. */
  run(program: string | Files, request?: Partial<RunRequest>): Promise<Execution>;
}

/** Starts an engine under an instance name of its own. Dispose it: `await using`. */
export async function startEngine(settings: Readonly<Record<string, string>> = {}): Promise<TestEngine> {
  const state = temporaryStateDirectory();
  let engine: Engine;
  try {
    const config = parseConfig({
      PYEXEC_INSTANCE: `test-${randomUUID()}`,
      PYEXEC_STATE_DIR: state.path,
      PYEXEC_POOL_SIZE: '0',
      PYEXEC_DEFAULT_IMAGE: SLIM,
      // A test that installs names an index of its own.
      PYEXEC_PACKAGES: 'off',
      ...settings,
    });
    engine = await buildEngine(config, createLogger(process.env['TEST_LOG_LEVEL'] ?? 'silent'));
  } catch (refusal) {
    state.remove();
    throw refusal;
  }
  return {
    engine,
    async run(program, request = {}) {
      const submitted = await engine.executions.submit(
        runRequest(request),
        await projectOf(engine, program),
        ANONYMOUS,
      );
      await submitted.ended;
      return submitted.snapshot();
    },
    async [Symbol.asyncDispose]() {
      await engine.close(0);
      state.remove();
    },
  };
}

export function runRequest(request: Partial<RunRequest> = {}): RunRequest {
  return {
    args: [],
    stdin: new Uint8Array(),
    environment: {},
    limits: {},
    onOverflow: 'truncate',
    wantsNetwork: false,
    preCommands: [],
    ...request,
  };
}

export function projectOf(engine: Engine, program: string | Files) {
  const files = typeof program === 'string' ? { 'main.py': program } : program;
  return buildProject(
    Object.entries(files).map(([path, content]) => ({
      path,
      content: typeof content === 'string' ? Buffer.from(content) : content,
    })),
    { limits: engine.archiveLimits, spoolDirectory: tmpdir() },
  );
}

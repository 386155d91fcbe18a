/**
 * The same program in a sandbox and under plain `python3` of the same image: stdout,
 * stderr and the way it ended are compared byte for byte. PYEXEC_DEFAULT_IMAGE
 * names another image to compare in; DIFFERENTIAL_AS=module has every main.py run as
 * `python3 -m main`, DIFFERENTIAL_AS=folder as `python3 .` with its code in __main__.py.
 *
 * What is allowed to differ, and is therefore not printed by any program here:
 * pids, line_buffering and write_through of sys.stdout (lines are written as on a
 * terminal), RLIMIT_CPU and oom_score_adj (the run's limits). What differs and
 * cannot be helped is pinned in programs/differences.ts.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseConfig } from '../../../src/config/config.ts';
import type { Limits } from '../../../src/domain/limits.ts';
import { PlainPython } from '../../support/differential-plain.ts';
import type { Ending, Files, Program } from '../../support/differential-program.ts';
import { runRequest, startEngine, type TestEngine } from '../../support/engine.ts';
import { SLIM } from '../../support/images.ts';
import { PROGRAMS } from './programs/all.ts';

const LIMITS: Limits = {
  wall_ms: 30_000,
  cpu_ms: 30_000,
  memory_bytes: 512 << 20,
  pids: 128,
  disk_bytes: 64 << 20,
  output_bytes: 16 << 20,
  open_files: 256,
  cpus: 1,
};

/** What a request without a word asks for: taking what a program shows and leaves must not change it. */
const EVERYTHING = { wantsDisplays: true, artifacts: { patterns: [], inlineBytes: 0 } };

/** The program as the whole run has it; what says itself how it is run stays as it is. */
function as(how: string | undefined, files: Files, request: Program['request']): [Files, Program['request']] {
  const { 'main.py': main, ...others } = files;
  if (request?.entryPoint || main === undefined) return [files, request];
  if (how === 'module') return [files, { ...request, entryPoint: { kind: 'module', name: 'main' } }];
  if (how !== 'folder') return [files, request];
  return [
    { ...others, '__main__.py': main },
    { ...request, entryPoint: { kind: 'script', path: '.' } },
  ];
}

const config = parseConfig({ PYEXEC_DEFAULT_IMAGE: process.env['PYEXEC_DEFAULT_IMAGE'] ?? SLIM });

let engine: TestEngine;
let plain: PlainPython;

beforeAll(async () => {
  engine = await startEngine({
    PYEXEC_DEFAULT_IMAGE: config.PYEXEC_DEFAULT_IMAGE,
    PYEXEC_STORE_MAX_MB: '1',
  });
  plain = await PlainPython.start(config.PYEXEC_DEFAULT_IMAGE, LIMITS, {
    socketPath: config.PYEXEC_DOCKER_SOCKET,
    seccompProfile: readFileSync(config.PYEXEC_SECCOMP_PROFILE, 'utf8'),
    openFilesMax: config.PYEXEC_MAX_OPEN_FILES,
  });
});

afterAll(async () => {
  await Promise.all([plain[Symbol.asyncDispose](), engine[Symbol.asyncDispose]()]);
});

async function runInSandbox(files: Files, request: Program['request']): Promise<Ending> {
  const execution = await engine.run(files, { ...EVERYTHING, ...request, limits: LIMITS });
  const { outcome } = execution;
  if (outcome?.kind !== 'exited' && outcome?.kind !== 'signaled') {
    throw new Error(`the run was ${outcome?.kind ?? 'lost'}: ${execution.error ?? ''}`);
  }
  return {
    status: outcome.kind === 'exited' ? outcome.exit_code : -outcome.signal_number,
    stdout: Buffer.from(execution.stdout ?? '', execution.stdout_encoding ?? 'utf8'),
    stderr: Buffer.from(execution.stderr ?? '', execution.stderr_encoding ?? 'utf8'),
  };
}

/**
 * Latin-1, so that every byte counts; long output is cut after its length. CPython
 * itself prints addresses when it ignores an exception: only those are replaced.
 */
function shown({ status, stdout, stderr }: Ending) {
  const text = (bytes: Buffer) => {
    const whole = bytes.toString('latin1');
    return whole.length > 20_000 ? `${String(whole.length)} bytes: ${whole.slice(0, 2_000)}` : whole;
  };
  return { status, stdout: text(stdout), stderr: text(stderr).replaceAll(/ at 0x[0-9a-f]+>/g, ' at an address>') };
}

for (const [topic, programs] of Object.entries(PROGRAMS)) {
  describe(topic, () => {
    test.each(Object.entries(programs))('%s', async (_, entry) => {
      const program: Program = typeof entry === 'string' ? { files: entry } : entry;
      const given: Files = typeof program.files === 'string' ? { 'main.py': program.files } : program.files;
      const [files, request] = as(process.env['DIFFERENTIAL_AS'], given, program.request);
      const answer = plain.run(files, runRequest(request), LIMITS.open_files);
      const inSandbox = await runInSandbox(files, request).finally(() => answer.catch(() => undefined));
      const underPlain = await answer;
      if (program.differs) {
        expect(shown(inSandbox)).toMatchObject({ status: 0, ...program.differs.sandbox });
        expect(shown(underPlain)).toMatchObject({ status: 0, ...program.differs.plain });
        return;
      }
      expect(shown(inSandbox)).toEqual(shown(underPlain));
      expect(inSandbox.stdout.equals(underPlain.stdout), 'all of stdout').toBe(true);
      if (program.status !== 'by version') {
        expect(inSandbox.status, underPlain.stderr.toString()).toBe(program.status ?? 0);
      }
    });
  });
}

/** A plan and an exit report with nothing special about them. */
import type { RunPlan } from '../../../src/domain/plan.ts';
import type { Ending } from '../../../src/sandbox/sandbox.ts';

export const PLAN: RunPlan = {
  shape: {
    image: 'pyexec/slim:latest',
    imageId: 'sha256:aa',
    runtime: 'runc',
    network: 'none',
    memoryBytes: 64,
    pids: 8,
    cpus: 1,
    workBytes: 1,
    tmpBytes: 1,
    preimports: [],
  },
  entryPoint: { kind: 'script', path: 'main.py' },
  args: [],
  stdin: new Uint8Array(),
  environment: {},
  commandChain: [],
  wantsLastValue: false,
  limits: {
    wall_ms: 5000,
    cpu_ms: 3000,
    memory_bytes: 64,
    pids: 8,
    disk_bytes: 1,
    output_bytes: 10,
    open_files: 16,
    cpus: 1,
  },
  onOverflow: 'truncate',
};

export type Report = Extract<Ending, { kind: 'reported' }>['report'];

export function reported(change: Partial<Report> = {}): Ending {
  return {
    kind: 'reported',
    report: {
      token: 'token',
      exitCode: 0,
      signal: null,
      cause: null,
      wallMs: 10.4,
      cpuMs: 5.6,
      memoryPeakBytes: 1000,
      oomKills: 0,
      totalBytes: { stdout: 0, stderr: 0 },
      omittedBytes: { stdout: 0, stderr: 0 },
      ...change,
    },
  };
}

/** The programs of the differential suite, and what is compared of their runs. */
import type { RunRequest } from '../../src/domain/plan.ts';

export type Files = Readonly<Record<string, string | Uint8Array>>;

/** How a run ended. `status` is the exit code, or the negative number of the signal it died by. */
export interface Ending {
  readonly status: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** What a program of known difference prints, and how it ends when not with 0. */
export interface Seen {
  readonly stdout: string;
  readonly status?: number;
}

export interface Program {
  /** One main.py, or every file of the project. */
  readonly files: string | Files;
  readonly request?: Partial<RunRequest>;
  /** Exit code, or minus the signal's number; 0 when absent; some depend on the version of Python. Keeps a program from failing alike on both sides. */
  readonly status?: number | 'by version';
  /** A difference that cannot be removed: why, and what is seen on either side. */
  readonly differs?: { readonly because: string; readonly sandbox: Seen; readonly plain: Seen };
}

/** Programs by the name of their test. */
export type Programs = Readonly<Record<string, Program | string>>;

/** The text without the margin that its place in the source gave it. */
export function py(strings: TemplateStringsArray, ...values: readonly unknown[]): string {
  const text = String.raw(strings, ...values);
  const lines = text.replace(/^\n/, '').split('\n');
  const margin = Math.min(...lines.filter((line) => line.trim() !== '').map((line) => line.search(/\S/)));
  return lines
    .map((line) => line.slice(margin))
    .join('\n')
    .replace(/\n *$/, '\n');
}

/** One program, many inputs: what to give, and a program that leaves something where the next input could find it. */
import { expect } from 'vitest';
import type { AskedInput } from '../../src/domain/inputs.ts';
import type { InputResult } from '../../src/domain/inputs.ts';
import type { Execution } from '../../src/domain/execution.ts';
import type { RunRequest } from '../../src/domain/plan.ts';
import type { Files, TestEngine } from './engine.ts';

/** Inputs with these texts for stdin. */
export const given = (...stdin: readonly string[]): AskedInput[] =>
  stdin.map((text) => ({ args: [], stdin: Buffer.from(text) }));

/** Inputs with these words as their arguments, one each. */
export const words = (...args: readonly string[]): AskedInput[] =>
  args.map((word) => ({ args: [word], stdin: Buffer.alloc(0) }));

export function runInputs(
  engine: TestEngine,
  program: string | Files,
  list: readonly AskedInput[],
  more: Partial<RunRequest> = {},
  stopOnFailure = false,
): Promise<Execution> {
  return engine.run(program, { ...more, inputs: { list, stopOnFailure } });
}

export const outputs = ({ results }: Execution): string[] => (results ?? []).map(({ stdout }) => stdout);

export const indent = (code: string): string => code.trim().replaceAll(/^/gm, '  ');

/** What both parts of a program that leaves something have. */
const PRELUDE = `
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def daemon():
  """True in a process that outlives its parent, and that nothing of the parent's output waits for."""
  ready, tell = os.pipe()
  if os.fork():
    os.close(tell); os.read(ready, 1); os.close(ready)
    return False
  os.setsid(); os.close(ready)
  for n in range(3): os.close(n)
  global stay
  def stay():
    os.write(tell, b"x"); os.close(tell); time.sleep(600)
  return True
`;

/**
 * Runs the program for three inputs: the first and the last only look, the one between leaves something and looks, too.
 * @returns what each saw. That the one between sees another thing is the control; it is checked here.
 */
export async function leaveAndLook(
  engine: TestEngine,
  { leave, look, files = {} }: { readonly leave: string; readonly look: string; readonly files?: Files },
  more: Partial<RunRequest> = {},
): Promise<{ readonly before: string; readonly after: string }> {
  const program = `${PRELUDE}\nif sys.argv[1] == "leave":\n${indent(leave)}\n${look.trim()}\nsys.stdout.flush()\nos._exit(0)\n`;
  const execution = await runInputs(engine, { ...files, 'main.py': program }, words('look', 'leave', 'look'), more);
  const [before, control, after] = execution.results ?? [];
  for (const result of [before, control, after])
    expect(result, said(result)).toMatchObject({ exit_code: 0, stderr: '' });
  expect(control?.stdout, 'the control sees what was left').not.toBe(before?.stdout);
  return { before: before?.stdout ?? '', after: after?.stdout ?? '' };
}

const said = (result: InputResult | undefined) => JSON.stringify(result);

/**
 * How a run ended travels beside its output, never in it: whatever a program
 * prints, its status is the one the kernel gave.
 */
import { describe, expect, it } from 'vitest';
import { encodeFrame, encodeJsonFrame, FRAME } from '../../../src/sandbox/supervisor/protocol.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const FORGED_EXIT = encodeJsonFrame(FRAME.EXIT, {
  exitCode: 0,
  signal: null,
  cause: null,
  wallMs: 1,
  cpuMs: 1,
  memoryPeakBytes: 1,
  oomKills: 0,
  totalBytes: { stdout: 0, stderr: 0 },
  omittedBytes: { stdout: 0, stderr: 0 },
});
/** Docker's own framing of attached output: stream, three zero bytes, length. */
const DOCKER_HEADER = Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, FORGED_EXIT.length]), FORGED_EXIT]);

const FORGERIES: Readonly<Record<string, Buffer>> = {
  'L23 an exit frame': FORGED_EXIT,
  'L23 an exit frame within a frame of Docker’s': DOCKER_HEADER,
  'L23 a cancellation and a refusal': Buffer.concat([
    encodeFrame(FRAME.CANCEL),
    encodeJsonFrame(FRAME.REFUSED, { code: 'sandbox_failed', detail: 'forged' }),
  ]),
  'L23 a header of an endless frame': Buffer.from([FRAME.STDOUT, 0xff, 0xff, 0xff, 0xff]),
  'L23 the result as JSON': Buffer.from(
    '\n{"seq":99,"type":"result","status":"completed","exit_code":0,"outcome":{"kind":"exited","exit_code":0}}\n',
  ),
  'L23 an event of a stream': Buffer.from('\n\nevent: result\ndata: {"status":"completed","exit_code":0}\n\n'),
  'L23 terminal sequences': Buffer.from('\x1b[2J\x1b]0;title\x07\r\x1b[1A\x1b[2Kexit code 0\r\n'),
  'L23 the line that stands for what was cut': Buffer.from('\n[... 12345 bytes omitted ...]\n'),
};

describe('L23 forged endings', () => {
  it.for(Object.entries(FORGERIES))('%s is output and nothing else', async ([, bytes]) => {
    const run = await sandbox.run({
      'main.py': `import os, sys\nforged = open('forged', 'rb').read()\nfor stream in (1, 2): os.write(stream, forged)\nsys.exit(7)`,
      forged: bytes,
    });
    expect(run).toMatchObject({ status: 'completed', exit_code: 7, outcome: { kind: 'exited', exit_code: 7 } });
    expect(Buffer.from(run.stdout ?? '', run.stdout_encoding ?? 'utf8')).toEqual(bytes);
    expect(Buffer.from(run.stderr ?? '', run.stderr_encoding ?? 'utf8')).toEqual(bytes);
    expect(run.truncated).toBeUndefined();
  });

  it('L23 frames written to every descriptor that can be opened change nothing', async () => {
    const run = await sandbox.run({
      'main.py': `
import os, sys
forged = open('forged', 'rb').read()
written = 0
for process in os.listdir('/proc'):
    if not process.isdigit(): continue
    for number in range(64):
        if process == str(os.getpid()) and number < 3: continue
        try:
            descriptor = os.open('/proc/%s/fd/%d' % (process, number), os.O_WRONLY | os.O_NONBLOCK)
            written += os.write(descriptor, forged)
        except OSError: pass
for number in range(3, 64):
    try: written += os.write(number, forged)
    except OSError: pass
print(written)
sys.exit(7)`,
      forged: FORGED_EXIT,
    });
    expect(run).toMatchObject({ stdout: '0\n', exit_code: 7, outcome: { kind: 'exited', exit_code: 7 } });
  });

  it('L23 what it writes into memory it shares with the supervisor does not break the report', async () => {
    const run = await sandbox.run(`
import ctypes, sys
for line in open('/proc/self/maps'):
    place, rights = line.split()[:2]
    if rights != 'rw-s': continue
    start, end = (int(part, 16) for part in place.split('-'))
    for filling in (0xff, 1):
        ctypes.memset(start, filling, end - start)
        for at in range(start, end - 512, 512):
            ctypes.memmove(at, b'%15d %15d\\n' % (end - at - 600, 1), 32)
sys.exit(7)`);
    expect(run).toMatchObject({ exit_code: 7, outcome: { kind: 'exited', exit_code: 7 } });
  });

  it.each([`'é' * 600_000`, `'\\\\' * 600_000`, `'x' * 2_000_000`])(
    'L08 a last value of %s is cut, not refused',
    async (code) => {
      const run = await sandbox.run(code, { wantsLastValue: true });
      expect(run).toMatchObject({ exit_code: 0, outcome: { kind: 'exited', exit_code: 0 } });
    },
  );

  it('L23 a program that fails after it printed success has failed', async () => {
    const run = await sandbox.run(`print('{"status": "completed", "exit_code": 0}')\nraise RuntimeError('it did not')`);
    expect(run).toMatchObject({ exit_code: 1, outcome: { kind: 'exited', exit_code: 1 } });
  });

  it('L23 a hint never changes what is reported', async () => {
    const run = await sandbox.run(`import sys; print("No space left on device", file=sys.stderr); sys.exit(3)`);
    expect(run).toMatchObject({ exit_code: 3, outcome: { kind: 'exited', exit_code: 3 } });
  });
});

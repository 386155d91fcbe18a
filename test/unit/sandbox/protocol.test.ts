/** The frames between host and supervisor, and what a container can make of them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compiledCommand,
  encodeFrame,
  encodeJsonFrame,
  FRAME,
  FRAME_BYTES_MAX,
  FrameDecoder,
  parseExit,
  parseHello,
  parseOmitted,
  parseRefused,
  ProtocolError,
  type Frame,
} from '../../../src/sandbox/supervisor/protocol.ts';
import { cut } from '../output/chunks.ts';

function decode(chunks: readonly Buffer[]): Frame[] {
  const decoder = new FrameDecoder();
  return chunks.flatMap((chunk) => [...decoder.push(chunk)]);
}

const shown = (frames: readonly Frame[]) =>
  frames.map(({ type, payload }) => [type, Buffer.from(payload).toString('hex')]);

const frames = fc.array(
  fc.record({
    type: fc.integer({ min: 0, max: 255 }),
    payload: fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
  }),
  { maxLength: 10 },
);

describe('decoding', () => {
  test('any chunks give the frames that were encoded', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (written, sizes) => {
        const bytes = Buffer.concat(written.map(({ type, payload }) => encodeFrame(type, payload)));
        expect(shown(decode(cut(bytes, sizes)))).toEqual(shown(written));
        expect(shown(decode([bytes]))).toEqual(shown(written));
      }),
      { numRuns: 1000 },
    );
  });

  test('thousands of small frames in one chunk', () => {
    const one = encodeFrame(FRAME.STDOUT, Buffer.from('x'));
    expect(decode([Buffer.concat(Array.from({ length: 5000 }, () => one))])).toHaveLength(5000);
  });

  test('the longest frame, a byte at a time', () => {
    const payload = Buffer.alloc(FRAME_BYTES_MAX, 9);
    const [frame] = decode(cut(encodeFrame(FRAME.STDOUT, payload), [1]));
    expect(frame?.payload.equals(payload)).toBe(true);
  });

  test.each([FRAME_BYTES_MAX + 1, 0x7fffffff, 0xffffffff])(
    'a frame that claims %d bytes is refused before they come',
    (size) => {
      const header = Buffer.alloc(5);
      header.writeUInt8(FRAME.STDOUT, 0);
      header.writeUInt32BE(size, 1);
      expect(() => decode([header])).toThrow(ProtocolError);
      expect(() => decode(cut(header, [1]))).toThrow(ProtocolError);
    },
  );

  test('what came before the frame that is refused was given', () => {
    const decoder = new FrameDecoder();
    const given: Frame[] = [];
    expect(() => {
      for (const frame of decoder.push(Buffer.concat([encodeFrame(FRAME.STARTED), Buffer.alloc(5, 0xff)])))
        given.push(frame);
    }).toThrow(ProtocolError);
    expect(given).toHaveLength(1);
  });
});

const EXIT = {
  token: 'token',
  exitCode: 0,
  signal: null,
  cause: null,
  wallMs: 1,
  cpuMs: 1,
  memoryPeakBytes: null,
  oomKills: null,
  totalBytes: { stdout: 0, stderr: 0 },
  omittedBytes: { stdout: 0, stderr: 0 },
};

function parsed<T>(parse: (frame: Frame) => T, value: unknown): T {
  const [frame] = decode([encodeJsonFrame(FRAME.EXIT, value)]);
  if (!frame) throw new Error('no frame');
  return parse(frame);
}

describe('the exit frame', () => {
  test.each([
    ['an exit', {}],
    ['a signal', { exitCode: null, signal: 9 }],
    ['a limit, with nothing to wait for', { exitCode: null, signal: null, cause: 'wall_ms' }],
    ['figures', { memoryPeakBytes: 5, oomKills: 1 }],
  ])('%s', (_, change) => {
    expect(parsed(parseExit, { ...EXIT, ...change })).toEqual({ ...EXIT, ...change });
  });

  test.each([
    ['no reason at all: it would be taken for success', { exitCode: null }],
    ['an exit code that is none', { exitCode: 256 }],
    ['a negative exit code', { exitCode: -1 }],
    ['half an exit code', { exitCode: 0.5 }],
    ['signal 0', { exitCode: null, signal: 0 }],
    ['signal 65', { exitCode: null, signal: 65 }],
    ['a cause of its own', { cause: 'bored' }],
    ['time before it began', { wallMs: -1 }],
    ['a figure that is text', { cpuMs: '1' }],
    ['a missing field', { totalBytes: undefined }],
  ])('%s is refused', (_, change) => {
    expect(() => parsed(parseExit, { ...EXIT, ...change })).toThrow(ProtocolError);
  });

  test.each(['', '{', 'null', '[]', '"x"', '\xff'])('%j is refused', (text) => {
    const [frame] = decode([encodeFrame(FRAME.EXIT, Buffer.from(text, 'latin1'))]);
    if (!frame) throw new Error('no frame');
    expect(() => parseExit(frame)).toThrow(ProtocolError);
  });
});

test('the other frames are checked as well', () => {
  expect(parsed(parseHello, { protocol: 1, python: '3.11.2', problem: '' })).toEqual({
    protocol: 1,
    python: '3.11.2',
    problem: '',
  });
  expect(() => parsed(parseHello, { protocol: '1', python: '' })).toThrow(ProtocolError);
  expect(() => parsed(parseHello, { protocol: 1, python: 'x'.repeat(41) })).toThrow(ProtocolError);
  expect(parsed(parseOmitted, { stream: 'stdout', bytes: 1 })).toEqual({ stream: 'stdout', bytes: 1 });
  expect(() => parsed(parseOmitted, { stream: '__proto__', bytes: 1 })).toThrow(ProtocolError);
  expect(() => parsed(parseOmitted, { stream: 'stdout', bytes: -1 })).toThrow(ProtocolError);
  expect(() => parsed(parseRefused, { code: 'internal', detail: '' })).toThrow(ProtocolError);
  expect(() => parsed(parseRefused, { code: 'sandbox_failed', detail: 'x'.repeat(501) })).toThrow(ProtocolError);
});

describe('the command of later containers', () => {
  test('is the byte code the first one sent', () => {
    const command = compiledCommand(Buffer.from('eNo='));
    expect(command?.slice(0, 2)).toEqual(['python3', '-c']);
    expect(command?.at(-1)).toBe('eNo=');
  });

  test.each([
    ['empty', ''],
    ['no base64', 'eNo=\u00e4'],
    ['an option', '--version'],
    ['longer than an argument may be', 'A'.repeat(128 << 10)],
  ])('is not what is %s', (_, payload) => {
    expect(compiledCommand(Buffer.from(payload, 'latin1'))).toBeUndefined();
  });
});

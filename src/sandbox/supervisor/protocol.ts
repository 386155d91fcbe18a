/**
 * The framed protocol between the host and the supervisor inside a container.
 *
 * A frame is a type byte, a big-endian 32-bit length and that many bytes. The
 * types live in frame-types.json, from which both sides take them; the meaning
 * of each is in docs/SUPERVISOR.md. What comes from a container is checked here:
 * a frame that is not known, too long or not well-formed ends the run.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { SandboxShape } from '../../domain/plan.ts';
import frameTypes from './frame-types.json' with { type: 'json' };

export const FRAME = frameTypes;
export const PROTOCOL_VERSION = 3;

/** Longest frame a supervisor sends: an exit frame with a megabyte of value, all of it escaped. */
export const FRAME_BYTES_MAX = 8 << 20;
export const FRAME_HEADER_BYTES = 5;

/** A container broke the protocol: its output cannot be trusted any further. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

/** One frame, header and payload in one buffer. */
export function encodeFrame(type: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  writeFrameHeader(frame, 0, type, payload.length);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

export function writeFrameHeader(target: Buffer, offset: number, type: number, payloadBytes: number): void {
  target.writeUInt8(type, offset);
  target.writeUInt32BE(payloadBytes, offset + 1);
}

export function encodeJsonFrame(type: number, value: unknown): Buffer {
  return encodeFrame(type, Buffer.from(JSON.stringify(value)));
}

/** Cuts a byte stream into frames, however it was chunked. Holds at most one frame. */
export class FrameDecoder {
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #needBytes = FRAME_HEADER_BYTES;

  /**
   * Every frame completed by `chunk`, in order.
   * @throws {ProtocolError} when a frame claims more than the longest frame.
   */
  *push(chunk: Buffer): Generator<Frame> {
    let rest: Buffer = chunk;
    if (this.#waitingBytes > 0) {
      this.#waiting.push(chunk);
      this.#waitingBytes += chunk.length;
      if (this.#waitingBytes < this.#needBytes) return;
      rest = Buffer.concat(this.#waiting);
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.#needBytes = FRAME_HEADER_BYTES;
    }
    let offset = 0;
    while (rest.length - offset >= FRAME_HEADER_BYTES) {
      const length = rest.readUInt32BE(offset + 1);
      if (length > FRAME_BYTES_MAX) throw new ProtocolError(`frame of ${String(length)} bytes`);
      const end = offset + FRAME_HEADER_BYTES + length;
      if (end > rest.length) {
        this.#needBytes = FRAME_HEADER_BYTES + length;
        break;
      }
      yield { type: rest.readUInt8(offset), payload: rest.subarray(offset + FRAME_HEADER_BYTES, end) };
      offset = end;
    }
    if (offset < rest.length) {
      this.#waiting = [rest.subarray(offset)];
      this.#waitingBytes = rest.length - offset;
    }
  }
}

const helloSchema = z.object({
  protocol: z.number(),
  python: z.string().max(40),
  /** Why the modules of the shape are not all imported. */
  problem: z.string().max(500),
});
const omittedSchema = z.object({ stream: z.enum(['stdout', 'stderr']), bytes: z.int().nonnegative() });
const artifactSchema = z.object({
  /** As in an exit frame: what comes without it was not sent by the supervisor. */
  token: z.string().max(100),
  path: z.string().min(1).max(4000),
  size: z.int().nonnegative(),
  executable: z.boolean(),
});
const artifactsSkippedSchema = z.object({
  token: z.string().max(100),
  skipped: z
    .array(
      z.object({
        path: z.string().max(4000),
        reason: z.enum(['not_a_regular_file', 'name', 'too_deep', 'unreadable', 'too_large', 'too_many', 'deadline']),
      }),
    )
    .max(100),
  count: z.int().nonnegative(),
});
const refusedSchema = z.object({ code: z.enum(['project_too_large', 'sandbox_failed']), detail: z.string().max(500) });
/** What a program said of itself. */
const saidShape = {
  /** What the program's last expression was worth, as repr() wrote it. */
  value: z.string().nullish(),
  /** What that is short of. */
  valueOmittedBytes: z.int().nonnegative().optional(),
  /** The exception that ended the program: its class, and the line of the program's own file. */
  exception: z.object({ type: z.string().max(400), line: z.int().nonnegative().nullable() }).nullish(),
  /** Message, file and traceback of the exception with NUL between them; and a line of that file. */
  details: z.tuple([z.string().max(20_000), z.int().nonnegative()]).nullish(),
};
const exitSchema = z
  .object({
    /** The secret of the RUN frame: under some runtimes a program can write to the supervisor's stdout. */
    token: z.string().max(100),
    exitCode: z.int().min(0).max(255).nullable(),
    signal: z.int().min(1).max(64).nullable(),
    cause: z.enum(['wall_ms', 'cpu_ms', 'output_bytes', 'cancelled']).nullable(),
    wallMs: z.number().nonnegative(),
    cpuMs: z.number().nonnegative(),
    memoryPeakBytes: z.number().nonnegative().nullable(),
    oomKills: z.number().nonnegative().nullable(),
    totalBytes: z.object({ stdout: z.number().nonnegative(), stderr: z.number().nonnegative() }),
    ...saidShape,
    /** It says that it shows something, and runs in an interpreter nobody watches. */
    unseenDisplays: z.boolean().optional(),
    omittedDisplays: z.int().nonnegative().optional(),
    omittedBytes: z.object({ stdout: z.number().nonnegative(), stderr: z.number().nonnegative() }),
    /** Of many inputs: why those that are left could not be run. */
    damage: z.string().max(400).nullish(),
  })
  // An end without a reason would have to be made up.
  .refine(({ exitCode, signal, cause }) => exitCode !== null || signal !== null || cause !== null);

/** How one of many inputs ended. */
const inputExitSchema = z
  .object({
    token: z.string().max(100),
    index: z.int().nonnegative(),
    exitCode: z.int().min(0).max(255).nullable(),
    signal: z.int().min(1).max(64).nullable(),
    cause: z.enum(['wall_ms', 'cpu_ms', 'output_bytes', 'cancelled']).nullable(),
    wallMs: z.number().nonnegative(),
    cpuMs: z.number().nonnegative(),
    oomKills: z.number().nonnegative().nullable(),
    ...saidShape,
    totalBytes: z.object({ stdout: z.number().nonnegative(), stderr: z.number().nonnegative() }),
    omittedBytes: z.object({ stdout: z.number().nonnegative(), stderr: z.number().nonnegative() }),
  })
  .refine(({ exitCode, signal, cause }) => exitCode !== null || signal !== null || cause !== null);

export type InputExitReport = z.infer<typeof inputExitSchema>;

export type ExitReport = z.infer<typeof exitSchema>;

function parseJson<T>(schema: z.ZodType<T>, frame: Frame): T {
  let value: unknown;
  try {
    value = JSON.parse(frame.payload.toString('utf8'));
  } catch (cause) {
    throw new ProtocolError(`frame ${String(frame.type)} is not JSON`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new ProtocolError(`frame ${String(frame.type)} has the wrong shape`, { cause: parsed.error });
  return parsed.data;
}

export const parseHello = (frame: Frame) => parseJson(helloSchema, frame);
export const parseOmitted = (frame: Frame) => parseJson(omittedSchema, frame);
export const parseArtifact = (frame: Frame) => parseJson(artifactSchema, frame);
export const parseArtifactsSkipped = (frame: Frame) => parseJson(artifactsSkippedSchema, frame);
export const parseRefused = (frame: Frame) => parseJson(refusedSchema, frame);
export const parseInputExit = (frame: Frame) => parseJson(inputExitSchema, frame);
export const parseExit = (frame: Frame) => parseJson(exitSchema, frame);

/** What runs in PID 1 and in the child it forks at the end of the last of them. */
const CHILD_FILES = [
  'baseline',
  'preimports',
  'display_watch',
  'exception_details',
  'second_main',
  'notes',
  'proc_view',
  'program_end',
  'input_forks',
  'child',
] as const;
/** What PID 1 runs after these, in this order and in the same namespace. */
const SUPERVISOR_FILES = [
  'host_link',
  'unpacker',
  'program_start',
  'program_output',
  'accounting',
  'program_relay',
  'leftovers',
  'inputs',
  'artifacts',
  'displays',
  'byte_code',
  'supervisor',
] as const;

/** What the code of the first container of an image finds in its namespace beside the files. */
const NAMESPACE = `{'__name__':'supervisor','FRAME_TYPES':${JSON.stringify(frameTypes)},'PREIMPORTS':sys.argv[-1],'BASELINE':b`;
/** Text or code, as the others are. */
const DISPLAY_WATCH = `a[0][${String(CHILD_FILES.indexOf('display_watch'))}]`;
const REMEMBER_BASELINE = 'import sys;b=list(sys.modules),list(sys.path_importer_cache)';

/**
 * The command of a container: Python with the sources of this folder as
 * arguments. They run in a namespace of their own, so `__main__` stays empty for
 * the program; in the child, the command ends after child.py. rich_output.py and
 * rich_figures.py are text until a program needs them. The last argument is the shape's own: see preimportsArgument.
 */
export function supervisorCommand(): readonly string[] {
  const source = (name: string) => readFileSync(new URL(`./${name}.py`, import.meta.url), 'utf8');
  const files = CHILD_FILES.length + 1;
  const bootstrap = [
    REMEMBER_BASELINE,
    `a=sys.argv[1:${String(files)}],sys.argv[${String(files)}],sys.argv[${String(files + 1)}:-1]`,
    `n=${NAMESPACE},'RICH_OUTPUT':a[1],'DISPLAY_WATCH':${DISPLAY_WATCH},'SOURCES':a}`,
    `for s in a[0]:exec(compile(s,'<child>','exec'),n)`,
    `n['CHILD'].pid and[exec(compile(s,'<supervisor>','exec'),n)for s in a[2]]`,
  ].join('\n');
  const inChild = CHILD_FILES.map(source);
  const richOutput = source('rich_output') + source('rich_figures');
  return ['python3', '-c', bootstrap, ...inChild, richOutput, ...SUPERVISOR_FILES.map(source)];
}

/** Linux takes an argument of 128 KiB, its end included (MAX_ARG_STRLEN, execve(2)). */
const BYTE_CODE_BYTES_MAX = (128 << 10) - 1;

/**
 * The same command with the files as byte code, as an interpreter of the same image compiled them: a start
 * takes a fifth less. Undefined where it cannot be used.
 * @param payload of a CODE frame.
 */
export function compiledCommand(payload: Buffer): readonly string[] | undefined {
  const code = payload.toString('latin1');
  if (code.length > BYTE_CODE_BYTES_MAX || !/^[A-Za-z0-9+/]+={0,2}$/.test(code)) return undefined;
  const bootstrap = [
    REMEMBER_BASELINE,
    'import binascii,marshal,zlib',
    'a=marshal.loads(zlib.decompress(binascii.a2b_base64(sys.argv[1])))',
    `n=${NAMESPACE},'RICH_OUTPUT':a[1],'DISPLAY_WATCH':${DISPLAY_WATCH}}`,
    'for s in a[0]:exec(s,n)',
    `n['CHILD'].pid and[exec(s,n)for s in a[2]]`,
  ].join('\n');
  return ['python3', '-c', bootstrap, code];
}

/** Threads a library starts under a quota; as policy/thread-counts.ts sets them for each run. */
export function threadsOf(cpus: number): number {
  return Math.max(1, Math.floor(cpus));
}

/** What preimports.py reads: the number of threads a library may start, then the modules. */
export function preimportsArgument({ preimports, cpus }: Pick<SandboxShape, 'preimports' | 'cpus'>): string {
  return [String(threadsOf(cpus)), ...preimports].join(' ');
}

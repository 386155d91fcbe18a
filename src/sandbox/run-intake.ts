/**
 * What a sandbox is sent of a run: plan, inputs, project and stdin, as frames.
 *
 * A small run is one write, a project of any size needs no more memory than a buffer. What comes back is run-frames.ts.
 */
import type { RunInput } from '../domain/inputs.ts';
import type { RunPlan } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';
import { FrameWriter } from './supervisor/frame-writer.ts';
import { encodeFrame, encodeJsonFrame, FRAME } from './supervisor/protocol.ts';

/** Frames are joined to writes of this size. */
const WRITE_BYTES = 256 * 1024;
/** What the frames of a small run need beside its request, project and stdin. */
const SMALL_RUN_BYTES = 1024;

/** Bytes of a run that are the caller's. */
export function intakeBytes(plan: RunPlan, project: Project): number {
  const inputs = (plan.inputs?.list ?? []).reduce((sum, { stdin }) => sum + stdin.length, 0);
  return project.tarBytes + plan.stdin.length + inputs;
}

/**
 * Sends a run; the program begins when it is released.
 * @param to.token returned with the exit, and never known to the program.
 * @param to.write resolves when its bytes may be used again.
 * @param to.isOver asked before each part: nothing more is sent then.
 * @param to.onSent called once all of it is given away. Resolves later, when it is on its way.
 */
export async function sendRun(
  plan: RunPlan,
  project: Project,
  to: {
    readonly token: string;
    readonly write: (data: Buffer) => Promise<void>;
    readonly isOver: () => boolean;
    readonly onSent: () => void;
  },
): Promise<void> {
  const { isOver, write } = to;
  const request = requestFrame(plan, to.token);
  const bytes = request.length + project.tarBytes + plan.stdin.length + SMALL_RUN_BYTES;
  const writer = new FrameWriter(Math.min(WRITE_BYTES, bytes), write);
  await writer.frame(request);
  for (const input of plan.inputs?.list ?? []) {
    if (isOver()) break;
    await writer.frame(inputFrame(input));
  }
  for (let position = 0; position < project.tarBytes && !isOver();) {
    const at = position;
    position += await writer.payload(FRAME.ARCHIVE, (room) => project.readInto(room, at));
  }
  for (let offset = 0; offset < plan.stdin.length && !isOver();) {
    const at = offset;
    offset += await writer.payload(FRAME.STDIN, (room) => {
      const part = plan.stdin.subarray(at, at + room.length);
      room.set(part);
      return part.length;
    });
  }
  if (isOver()) return;
  to.onSent();
  await writer.flush();
}

function requestFrame(plan: RunPlan, token: string): Buffer {
  const { entryPoint, args, environment, commandChain, wantsLastValue, limits, onOverflow, inputs } = plan;
  return encodeJsonFrame(FRAME.RUN, {
    token,
    entry: entryPoint,
    args,
    environment,
    commandChain,
    wantsLastValue,
    limits,
    onOverflow,
    artifacts: plan.artifacts ?? null,
    displays: plan.displays ?? null,
    inputs: inputs
      ? {
          stopOnFailure: inputs.stopOnFailure,
          wallMs: inputs.limits.wallMs,
          outputBytes: inputs.limits.outputBytes,
        }
      : null,
  });
}

/** One of many inputs: the length of a head, the head, its stdin, its files. */
function inputFrame({ args, stdin, overlay }: RunInput): Buffer {
  const head = Buffer.from(JSON.stringify({ args, stdinBytes: stdin.length }));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(head.length);
  return encodeFrame(FRAME.INPUT, Buffer.concat([length, head, stdin, ...(overlay ? [overlay.tar] : [])]));
}

/**
 * What a supervisor says of a run, frame by frame, to whoever takes it: output, displays, files, ends of inputs, the end.
 *
 * Nothing is believed before it was checked: each frame must be one that may come now, no longer than the plan allows,
 * and what ends a run returns the token that its program never saw. Where frames come from is not known here.
 */
import type { Display } from '../domain/displays.ts';
import { ServiceError } from '../domain/errors.ts';
import type { OutputStream } from '../domain/events.ts';
import type { RunPlan } from '../domain/plan.ts';
import { ArtifactFrames, type ArtifactSink } from './artifact-frames.ts';
import { displayOf } from './display-frame.ts';
import {
  FRAME,
  parseExit,
  parseInputExit,
  parseOmitted,
  parseRefused,
  ProtocolError,
  type ExitReport,
  type Frame,
  type InputExitReport,
} from './supervisor/protocol.ts';

/** Output frames may exceed the kept bytes by this much before the container counts as broken. */
const OUTPUT_SLACK_BYTES = 1 << 20;

/** Receives what a run produces, while it produces it. Returning a promise slows the program down. */
export interface RunSink {
  started(): void;
  output(stream: OutputStream, data: Buffer): void | Promise<void>;
  omitted(stream: OutputStream, bytes: number): void;
  display(display: Display): void;
  /** One of many inputs ended; their output comes with it and not by `output`. */
  readonly inputEnded?: (ending: InputEnding) => void;
  /** The files the run left, one after the other: a header, then `size` bytes. Absent: nobody takes any. */
  readonly artifacts?: ArtifactSink;
}

/** How one of many inputs ended, as observed. */
export interface InputEnding {
  readonly report: InputExitReport;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** The supervisor as this file sees it. */
export interface SupervisorLink {
  /** Known to the supervisor and not to the program. */
  readonly token: string;
  /** The next frame; undefined at the end of the stream. */
  next(): Promise<Frame | undefined>;
  /** The program has begun. */
  onStarted(): void;
  /** What is thrown where the supervisor could not run the program, for a reason of its own. */
  broken(detail: string): Error;
}

/**
 * Passes frames on until the exit frame; undefined when the container fell silent before it.
 * @throws {ProtocolError} when a frame is not one that may come now.
 * @throws {ServiceError} project_too_large. @throws what `link.broken` makes of a refusal, and what the sink throws.
 */
export async function relayFrames(plan: RunPlan, sink: RunSink, link: SupervisorLink): Promise<ExitReport | undefined> {
  const { token } = link;
  let received = { stdout: 0, stderr: 0 };
  let ofInput: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] };
  let inputsEnded = 0;
  let hasStarted = false;
  const shown = { count: 0, bytes: 0 };
  const artifacts = new ArtifactFrames(plan, sink.artifacts, token);
  for (;;) {
    const frame = await link.next();
    if (!frame) return undefined;
    switch (frame.type) {
      case FRAME.STARTED:
        hasStarted = true;
        link.onStarted();
        sink.started();
        break;
      case FRAME.STDOUT:
      case FRAME.STDERR: {
        const stream = frame.type === FRAME.STDOUT ? 'stdout' : 'stderr';
        received[stream] += frame.payload.length;
        if (!hasStarted || received[stream] > plan.limits.output_bytes + OUTPUT_SLACK_BYTES) {
          throw new ProtocolError(`unexpected ${stream}`);
        }
        if (plan.inputs) {
          ofInput[stream].push(frame.payload);
          break;
        }
        const slow = sink.output(stream, frame.payload);
        if (slow) await slow;
        break;
      }
      case FRAME.OMITTED: {
        const { stream, bytes } = parseOmitted(frame);
        if (plan.inputs) ofInput[stream].push(Buffer.from(`\n[... ${String(bytes)} bytes omitted ...]\n`));
        else sink.omitted(stream, bytes);
        break;
      }
      case FRAME.DISPLAY: {
        shown.count += 1;
        shown.bytes += frame.payload.length;
        const { count = 0, bytes = 0 } = plan.displays ?? {};
        if (!hasStarted || shown.count > count || shown.bytes > bytes) throw new ProtocolError('unexpected display');
        const display = displayOf(frame.payload);
        if (display) sink.display(display);
        break;
      }
      case FRAME.ARTIFACT:
      case FRAME.ARTIFACT_DATA:
      case FRAME.ARTIFACTS_SKIPPED:
        await artifacts.take(frame);
        break;
      case FRAME.REFUSED: {
        if (hasStarted) throw new ProtocolError('a refusal after the start');
        const { code, detail } = parseRefused(frame);
        if (code === 'project_too_large') throw new ServiceError('project_too_large', detail);
        throw link.broken(detail);
      }
      case FRAME.INPUT_EXIT: {
        const report = parseInputExit(frame);
        const isNext = report.index === inputsEnded && inputsEnded < (plan.inputs?.list.length ?? 0);
        if (!isNext || report.token !== token) throw new ProtocolError('an unexpected end of an input');
        const [stdout, stderr] = [Buffer.concat(ofInput.stdout), Buffer.concat(ofInput.stderr)];
        sink.inputEnded?.({ report, stdout, stderr });
        inputsEnded += 1;
        received = { stdout: 0, stderr: 0 };
        ofInput = { stdout: [], stderr: [] };
        break;
      }
      case FRAME.EXIT: {
        const report = parseExit(frame);
        if (report.token !== token) throw new ProtocolError('an exit frame that is not the supervisor’s');
        await artifacts.finish();
        return report;
      }
      default:
        throw new ProtocolError(`unexpected frame ${String(frame.type)}`);
    }
  }
}

/**
 * The output of an execution as one text a stream, put together from its events.
 *
 * A line stands in place of what was left out. A character that was cut there is
 * left out whole: its bytes are in the events.
 */
import { isUtf8 } from 'node:buffer';
import type { Display } from '../domain/displays.ts';
import type { ExecutionEvent, OutputStream } from '../domain/events.ts';
import type { InputResult } from '../domain/inputs.ts';
import { linesOf, typeOf } from './event-lines.ts';
import { orphanedBytes, unfinishedBytes } from './utf8-stream.ts';

export interface CollectedStream {
  readonly text: string;
  readonly encoding?: 'base64';
}

export type CollectedOutput = Readonly<Record<OutputStream, CollectedStream>> & {
  readonly displays: readonly Display[];
  /** Of a program with many inputs. */
  readonly results?: readonly InputResult[];
};

const OF_INTEREST: ReadonlySet<string> = new Set(['stdout', 'stderr', 'truncated', 'display', 'input_result']);

export async function collectOutput(source: AsyncIterable<{ readonly bytes: Buffer }>): Promise<CollectedOutput> {
  const streams = { stdout: new Collector(), stderr: new Collector() };
  const displays: Display[] = [];
  const results: InputResult[] = [];
  for await (const { bytes } of source) {
    for (const line of linesOf(bytes)) {
      if (!OF_INTEREST.has(typeOf(line))) continue;
      const event = JSON.parse(line.toString('utf8')) as ExecutionEvent;
      if (event.type === 'stdout' || event.type === 'stderr') {
        streams[event.type].add(Buffer.from(event.data, event.encoding ?? 'utf8'));
      } else if (event.type === 'truncated') streams[event.stream].gap(event.omitted_bytes);
      else if (event.type === 'display') {
        const { data, metadata, truncated } = event;
        displays.push({ data, ...(metadata ? { metadata } : {}), ...(truncated ? { truncated } : {}) });
      } else if (event.type === 'input_result') {
        const { seq: _seq, t_ms: _tMs, type: _type, ...result } = event;
        results.push(result);
      }
    }
  }
  return {
    stdout: streams.stdout.collected(),
    stderr: streams.stderr.collected(),
    displays,
    ...(results.length > 0 ? { results } : {}),
  };
}

/** How much output events hold that could not be kept. */
export type LostOutput = Readonly<Record<OutputStream, number>> & { readonly displays: number };

/** What events hold of the output. Of a source that fails, what came until then: never rejects. */
export async function countOutput(source: AsyncIterable<{ readonly bytes: Buffer }>): Promise<LostOutput> {
  const counts = { stdout: 0, stderr: 0, displays: 0 };
  try {
    for await (const { bytes } of source) {
      for (const line of linesOf(bytes)) {
        const type = typeOf(line);
        if (type === 'display') counts.displays += 1;
        if (type !== 'stdout' && type !== 'stderr') continue;
        const { data, encoding } = JSON.parse(line.toString('utf8')) as { data: string; encoding?: 'base64' };
        counts[type] += Buffer.byteLength(data, encoding ?? 'utf8');
      }
    }
  } catch {
    // What cannot be read cannot be counted.
  }
  return counts;
}

class Collector {
  readonly #parts: Buffer[][] = [[]];
  readonly #gaps: number[] = [];

  add(bytes: Buffer): void {
    this.#parts.at(-1)?.push(bytes);
  }

  gap(omittedBytes: number): void {
    this.#gaps.push(omittedBytes);
    this.#parts.push([]);
  }

  collected(): CollectedStream {
    const whole = this.#parts.map((pieces) => Buffer.concat(pieces));
    const trimmed = whole.map((bytes, index) => {
      const start = index > 0 ? orphanedBytes(bytes) : 0;
      const end = index < this.#gaps.length ? unfinishedBytes(bytes.subarray(start)) : 0;
      return bytes.subarray(start, bytes.length - end);
    });
    const isText = trimmed.every((bytes) => isUtf8(bytes));
    const withGaps = (isText ? trimmed : whole).flatMap((bytes, index) => {
      const gap = this.#gaps[index];
      return gap === undefined ? [bytes] : [bytes, Buffer.from(`\n[... ${String(gap)} bytes omitted ...]\n`)];
    });
    const bytes = withGaps.length === 1 && withGaps[0] ? withGaps[0] : Buffer.concat(withGaps);
    return isText ? { text: bytes.toString('utf8') } : { text: bytes.toString('base64'), encoding: 'base64' };
  }
}

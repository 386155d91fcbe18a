/**
 * The conversation with one analyzer container: sources in, one report out.
 *
 * The container is not trusted with anything but its own answer: the report is
 * checked, bounded, and names no file that was not sent.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { SEVERITIES, SKIP_REASONS, type AnalysisReport } from '../../domain/analysis.ts';
import frameTypes from './frame-types.json' with { type: 'json' };

/** A started analyzer container, as frames. */
export interface AnalyzerChannel {
  /** Resolves when more can be sent. */
  send(type: number, payload: Uint8Array): Promise<void>;
  /** Ends when the container does. */
  frames(): AsyncIterable<{ readonly type: number; readonly payload: Buffer }>;
  /** Removes the container. Never rejects. */
  release(): Promise<void>;
}

/** A tar with sources in it: the project, or the files of an input. */
export interface SourcePart {
  /** The input's place among the inputs; absent: the project. */
  readonly input?: number;
  readonly sources: readonly string[];
  /** At least what the sources take. */
  readonly bytes: number;
  readonly tar: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export interface AnalyzerLimits {
  /** Findings that are listed; all are counted. */
  readonly findingsMax: number;
  readonly timeMs: number;
  /** Of one source: a larger one, or one that takes longer, is skipped. */
  readonly fileBytesMax: number;
  readonly fileTimeMs: number;
}

const count = z.int().nonnegative();
const severity = z.enum(SEVERITIES);
const place = { file: z.string().max(8192), input: count.exactOptional() };
const reportSchema = z.object({
  tool: z.string().regex(/^[\w .+-]{1,60}$/),
  analyzed: count,
  skipped: z.array(z.object({ ...place, reason: z.enum(SKIP_REASONS) })).max(100),
  skipped_count: count,
  counts: z.object({ low: count, medium: count, high: count }),
  findings: z
    .array(
      z.object({
        id: z.string().regex(/^[A-Z]\d{1,5}$/),
        name: z.string().max(200),
        severity,
        confidence: severity,
        ...place,
        line: count,
        message: z.string().max(1000),
        cwe: z.int().positive().exactOptional(),
      }),
    )
    .max(10_000),
});

/** What the analyzer container runs: Python with its source as arguments. */
export function analyzerCommand(): readonly string[] {
  const source = readFileSync(new URL('./analyzer.py', import.meta.url), 'utf8');
  const bootstrap = `import sys\nexec(compile(sys.argv[1],'<analyzer>','exec'),{'__name__':'analyzer','FRAME_TYPES':${JSON.stringify(frameTypes)}})`;
  return ['python3', '-I', '-c', bootstrap, source];
}

/**
 * Has the analyzer read the sources.
 * @throws {Error} when it broke: it ended, or said what it may not say.
 */
export async function analyzeInContainer(
  channel: AnalyzerChannel,
  parts: readonly SourcePart[],
  limits: AnalyzerLimits,
): Promise<AnalysisReport> {
  for await (const { type, payload } of channel.frames()) {
    switch (type) {
      case frameTypes.READY:
        await sendAll(channel, parts, limits);
        break;
      case frameTypes.REPORT:
        return reportOf(reportSchema.parse(JSON.parse(payload.toString('utf8'))), parts, limits);
      case frameTypes.FAILED:
        throw new Error(`the analyzer failed: ${payload.toString('utf8', 0, 2000)}`);
      default:
        throw new Error('the analyzer sent an unknown frame');
    }
  }
  throw new Error('the analyzer ended early');
}

async function sendAll(channel: AnalyzerChannel, parts: readonly SourcePart[], limits: AnalyzerLimits): Promise<void> {
  const job = {
    parts: parts.map(({ input = null, sources }) => ({ input, sources })),
    findings_max: limits.findingsMax,
    time_ms: limits.timeMs,
    file_bytes_max: limits.fileBytesMax,
    file_time_ms: limits.fileTimeMs,
  };
  await channel.send(frameTypes.SOURCES, Buffer.from(JSON.stringify(job)));
  for (const { tar } of parts) {
    for await (const chunk of tar()) await channel.send(frameTypes.TAR, chunk);
    await channel.send(frameTypes.TAR_END, Buffer.alloc(0));
  }
}

function reportOf(
  found: z.infer<typeof reportSchema>,
  parts: readonly SourcePart[],
  { findingsMax }: AnalyzerLimits,
): AnalysisReport {
  const { tool, analyzed, skipped, skipped_count, counts } = found;
  const sent = new Map(parts.map(({ input, sources }) => [input, new Set(sources)]));
  const wasSent = ({ file, input }: { file: string; input?: number }) => sent.get(input)?.has(file) === true;
  const total = parts.reduce((sum, { sources }) => sum + sources.length, 0);
  if (![...found.findings, ...skipped].every(wasSent) || analyzed + skipped_count !== total) {
    throw new Error('the analyzer speaks of sources it was not sent');
  }
  const findings = found.findings.slice(0, findingsMax);
  const isAll = findings.length === counts.low + counts.medium + counts.high;
  return {
    status: skipped_count === 0 ? 'complete' : 'incomplete',
    ...(skipped_count === 0 ? {} : { detail: `${String(skipped_count)} of ${String(total)} files could not be read.` }),
    tool,
    files_analyzed: analyzed,
    ...(skipped_count === 0 ? {} : { skipped: { count: skipped_count, entries: skipped } }),
    counts,
    findings,
    ...(isAll ? {} : { truncated: true as const }),
  };
}

/**
 * One analysis of submitted code, from its sources to a report: judged by size, read
 * by an analyzer in a container of its own, ended in time. Whatever happens, there is
 * a report, and it says how far the analysis came.
 */
import type { AnalysisReport } from '../domain/analysis.ts';
import type { RunPlan } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';
import {
  analyzeInContainer,
  type AnalyzerChannel,
  type AnalyzerLimits,
  type SourcePart,
} from './analyzer/analyzer-session.ts';
import { sourcesOf } from './sources.ts';

export interface AnalyzeCodeOptions {
  readonly startAnalyzer: () => Promise<AnalyzerChannel>;
  /** For everything together: starting the container, sending, reading. */
  readonly timeoutMs: number;
  readonly limits: Omit<AnalyzerLimits, 'timeMs'>;
  /** Of all sources of a run together; of the files of an input their tar counts. */
  readonly sourceBytesMax: number;
  /** What went wrong, for the log. */
  readonly onFailure: (error: unknown) => void;
}

/** What the analyzer is left of the time, for what it found to be told. */
const MARGIN_MS = 1000;

/** @param signal aborted: nobody wants the report any more. Never rejects. */
export async function analyzeCode(
  plan: RunPlan,
  project: Project,
  options: AnalyzeCodeOptions,
  signal: AbortSignal,
): Promise<AnalysisReport> {
  const { limits, onFailure, sourceBytesMax, startAnalyzer, timeoutMs } = options;
  const parts = partsOf(plan, project);
  if (parts.reduce((sum, { bytes }) => sum + bytes, 0) > sourceBytesMax) {
    return { status: 'too_large', detail: `At most ${String(sourceBytesMax)} bytes of source are analyzed.` };
  }
  const timeout = AbortSignal.timeout(timeoutMs);
  const ended = AbortSignal.any([timeout, signal]);
  let channel: AnalyzerChannel | undefined;
  try {
    ended.throwIfAborted();
    const opened = (channel = await startAnalyzer());
    // The container's end ends its frames, and so everything below.
    ended.addEventListener('abort', () => void opened.release(), { once: true });
    ended.throwIfAborted();
    const timeMs = Math.max(1, timeoutMs - MARGIN_MS);
    return await analyzeInContainer(channel, parts, { ...limits, timeMs });
  } catch (error) {
    if (signal.aborted) return { status: 'interrupted', detail: 'The run ended before the analysis.' };
    if (timeout.aborted) return { status: 'timed_out', detail: `It took longer than ${String(timeoutMs)} ms.` };
    onFailure(error);
    return { status: 'failed', detail: 'The analyzer could not be started, or broke.' };
  } finally {
    void channel?.release();
  }
}

function partsOf({ entryPoint, inputs }: RunPlan, project: Project): readonly SourcePart[] {
  const links = project.entries.filter(({ kind }) => kind === 'symlink');
  const ofInputs = (inputs?.list ?? []).flatMap(({ overlay }, input): SourcePart[] => {
    if (!overlay) return [];
    const files = overlay.paths.map((path) => ({ path, kind: 'file' as const, sizeBytes: 0, executable: false }));
    const sources = sourcesOf([...links, ...files], entryPoint);
    return sources.length === 0 ? [] : [{ input, sources, bytes: overlay.tar.length, tar: () => [overlay.tar] }];
  });
  const sources = sourcesOf(project.entries, entryPoint);
  const isSource = new Set(sources);
  const bytes = project.entries.reduce((sum, { path, sizeBytes }) => sum + (isSource.has(path) ? sizeBytes : 0), 0);
  return [{ sources, bytes, tar: () => project.read() }, ...ofInputs];
}

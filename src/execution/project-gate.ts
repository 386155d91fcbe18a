/**
 * The archive gate as the door uses it, bound to the operator's limits: bytes or
 * named contents in, a checked Project out, each read timed and counted.
 *
 * Doors reach the gate through this and nothing else.
 */
import { RunSlots } from '../admission/run-slots.ts';
import { buildProject, type ProjectFile } from '../archive/build-project.ts';
import { readProject, type ArchiveLimits } from '../archive/read-project.ts';
import { ServiceError } from '../domain/errors.ts';
import type { Project } from '../domain/project.ts';
import { buffersPassed, entriesPassed } from './buffer-garbage.ts';

export type { ArchiveLimits, ProjectFile };

const CONCURRENT_READS = 32;
const WAITING_READS_MAX = 1024;

export interface ProjectGateOptions {
  readonly limits: ArchiveLimits;
  readonly spoolDirectory: string;
  /** Archives read at one time: each may need some 25 MB while it is read. More wait without being read. */
  readonly concurrentReads?: number;
  readonly observe: (observation: {
    readonly durationMs: number;
    readonly bytes: number;
    readonly refusedCode?: string;
  }) => void;
}

export class ProjectGate {
  readonly #options: ProjectGateOptions;

  readonly #places: RunSlots;

  constructor(options: ProjectGateOptions) {
    this.#options = options;
    this.#places = new RunSlots({
      concurrent: options.concurrentReads ?? CONCURRENT_READS,
      queueMax: WAITING_READS_MAX,
    });
  }

  /** Checks a tar as it arrives, when there is a place. Throws as readProject does, and queue_full. */
  async readArchive(
    source: AsyncIterable<Uint8Array>,
    options: { readonly gzip: boolean | 'detect'; readonly signal: AbortSignal },
  ): Promise<Project> {
    const { limits, spoolDirectory } = this.#options;
    let bytes = 0;
    let entries = 0;
    const onEntry = () => {
      entries += 1;
    };
    const counted = async function* () {
      for await (const chunk of source) {
        bytes += chunk.length;
        yield chunk;
      }
    };
    const place = this.#places.reserve(options.signal);
    try {
      await place.ready;
      return await this.#timed(
        () => readProject(counted(), { ...options, limits, spoolDirectory, onEntry, onBytes: buffersPassed }),
        () => bytes,
      );
    } finally {
      place.release();
      entriesPassed(entries);
    }
  }

  /** Checks named contents. Throws as buildProject does. */
  buildFromFiles(files: readonly ProjectFile[], signal: AbortSignal): Promise<Project> {
    const { limits, spoolDirectory } = this.#options;
    return this.#timed(
      () => buildProject(files, { limits, spoolDirectory, signal }),
      () => files.reduce((sum, { content }) => sum + content.length, 0),
    );
  }

  async #timed(read: () => Promise<Project>, bytes: () => number): Promise<Project> {
    const startedAt = performance.now();
    try {
      const project = await read();
      this.#options.observe({ durationMs: performance.now() - startedAt, bytes: bytes() });
      return project;
    } catch (error) {
      const durationMs = performance.now() - startedAt;
      if (error instanceof ServiceError) {
        this.#options.observe({ durationMs, bytes: bytes(), refusedCode: error.code });
      }
      throw error;
    }
  }
}

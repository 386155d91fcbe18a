/**
 * The archive gate as the door uses it, bound to the operator's limits: bytes or
 * named contents in, a checked Project out, each read timed and counted.
 *
 * Doors reach the gate through this and nothing else.
 */
import { buildProject, type ProjectFile } from '../archive/build-project.ts';
import { readProject, type ArchiveLimits } from '../archive/read-project.ts';
import { ServiceError } from '../domain/errors.ts';
import type { Project } from '../domain/project.ts';

export type { ArchiveLimits, ProjectFile };

export interface ProjectGateOptions {
  readonly limits: ArchiveLimits;
  readonly spoolDirectory: string;
  readonly observe: (observation: {
    readonly durationMs: number;
    readonly bytes: number;
    readonly refusedCode?: string;
  }) => void;
}

export class ProjectGate {
  readonly #options: ProjectGateOptions;

  constructor(options: ProjectGateOptions) {
    this.#options = options;
  }

  /** Checks a tar as it arrives. Throws as readProject does. */
  readArchive(
    source: AsyncIterable<Uint8Array>,
    options: { readonly gzip: boolean | 'detect'; readonly signal: AbortSignal },
  ): Promise<Project> {
    const { limits, spoolDirectory } = this.#options;
    let bytes = 0;
    const counted = async function* () {
      for await (const chunk of source) {
        bytes += chunk.length;
        yield chunk;
      }
    };
    return this.#timed(
      () => readProject(counted(), { ...options, limits, spoolDirectory }),
      () => bytes,
    );
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

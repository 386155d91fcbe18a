/**
 * Reads what runs left behind: one file, or all as a tar, by what the execution's
 * result says of them. A path is looked up in that list and nowhere else.
 */
import type { Readable } from 'node:stream';
import { tarHeader, tarLayout } from '../archive/artifact-tar.ts';
import type { Artifact } from '../domain/artifacts.ts';
import { ServiceError } from '../domain/errors.ts';
import type { ExecutionResult } from '../domain/execution.ts';
import type { ArtifactFiles } from '../store/artifact-files.ts';

/** Bytes that can be read from any place. */
export interface Readings {
  readonly bytes: number;
  /**
   * Bytes `start` to `end`, the latter not included.
   * @throws {ServiceError} artifact_not_found when retention has ended meanwhile.
   */
  read(start: number, end: number): Promise<Readable>;
}

export class ArtifactShelf {
  readonly #files: ArtifactFiles;

  constructor(files: ArtifactFiles) {
    this.#files = files;
  }

  /** What the execution left. @throws {ServiceError} artifact_not_found when that is nothing. */
  all(result: ExecutionResult): readonly Artifact[] {
    const { artifacts = [] } = result;
    if (artifacts.length === 0) throw notThere(result);
    return artifacts;
  }

  /** Every artifact, as one tar. @throws {ServiceError} artifact_not_found when there is none. */
  tar(result: ExecutionResult): Readings {
    return this.#from(result, 0, tarLayout(this.all(result)).bytes);
  }

  /** @throws {ServiceError} artifact_not_found when the execution has no artifact of this path. */
  file(result: ExecutionResult, path: string): Readings & { readonly artifact: Artifact } {
    const artifacts = result.artifacts ?? [];
    const index = artifacts.findIndex((artifact) => artifact.path === path);
    const artifact = artifacts[index];
    if (!artifact) throw notThere(result);
    const start = tarLayout(artifacts.slice(0, index)).end + tarHeader(artifact.path, artifact.size, false).length;
    return { artifact, ...this.#from(result, start, artifact.size) };
  }

  #from({ execution_id }: ExecutionResult, offset: number, bytes: number): Readings {
    return {
      bytes,
      read: async (start, end) => {
        const stream = await this.#files.read(execution_id, offset + start, offset + end);
        if (!stream) throw new ServiceError('artifact_not_found', 'The artifact is no longer kept.');
        return stream;
      },
    };
  }
}

function notThere({ finished_at }: ExecutionResult): ServiceError {
  return new ServiceError(
    'artifact_not_found',
    finished_at === undefined
      ? 'Artifacts are collected when the execution ends, and it has not ended.'
      : 'The execution left no such artifact.',
  );
}

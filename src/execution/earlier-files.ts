/**
 * Files that earlier executions left, put into the project of a new one: found by
 * the ids a caller names, judged by the archive gate like everything else.
 *
 * An execution of somebody else is as one that does not exist. What is copied is
 * compared with the hash it was listed with.
 */
import { createHash } from 'node:crypto';
import { RunSlots } from '../admission/run-slots.ts';
import type { ArchiveLimits } from '../archive/archive-limits.ts';
import { extendProject, type AddedFile } from '../archive/extend-project.ts';
import type { Artifact } from '../domain/artifacts.ts';
import { hasScope, type Caller } from '../domain/caller.ts';
import { ServiceError } from '../domain/errors.ts';
import type { ExecutionResult } from '../domain/execution.ts';
import type { FilesFrom } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';
import type { ArtifactShelf } from './artifact-shelf.ts';

const REFERENCES_MAX = 100;
/** Copies made at one time: each is on the disk before the queue has a say in it. */
const CONCURRENT_COPIES = 8;
const WAITING_COPIES_MAX = 1024;

export interface EarlierFilesOptions {
  readonly limits: ArchiveLimits;
  readonly spoolDirectory: string;
}

export class EarlierFiles {
  readonly #options: EarlierFilesOptions;
  readonly #shelf: ArtifactShelf;
  readonly #places = new RunSlots({ concurrent: CONCURRENT_COPIES, queueMax: WAITING_COPIES_MAX });

  constructor(options: EarlierFilesOptions, shelf: ArtifactShelf) {
    this.#options = options;
    this.#shelf = shelf;
  }

  /**
   * The project with the files that were asked for. The old project is disposed of when there is a new one.
   * @param resultOf an execution this caller may see; throws not_found.
   * @throws {ServiceError} invalid_request, forbidden, not_found, artifact_not_found, queue_full, storage_full and
   *   those of the archive group; `field` names the reference at fault.
   */
  async addTo(
    project: Project,
    asked: readonly FilesFrom[],
    caller: Caller,
    resultOf: (id: string) => ExecutionResult,
  ): Promise<Project> {
    if (asked.length === 0) return project;
    if (asked.length > REFERENCES_MAX) {
      throw new ServiceError('invalid_request', `files_from may name at most ${String(REFERENCES_MAX)} times.`, {
        members: { field: 'files_from', maximum: REFERENCES_MAX },
      });
    }
    if (!hasScope(caller, 'read')) {
      throw new ServiceError('forbidden', 'Files of executions need the scope read, which you do not have.', {
        members: { scope: 'read', field: 'files_from' },
      });
    }
    let field = 'files_from';
    const found = asked.map((reference, index) => {
      field = `files_from.${String(index)}`;
      return told(field, () => ({ field, files: this.#find(reference, resultOf(reference.executionId)) }));
    });
    const each = function* () {
      for (const { field: of, files } of found) {
        field = of;
        yield* files;
      }
    };
    const place = this.#places.reserve(new AbortController().signal, { callerId: caller.id });
    try {
      await place.ready;
      const extended = await extendProject(project, each(), this.#options);
      await project.dispose();
      return extended;
    } catch (error) {
      throw named(error, field);
    } finally {
      place.release();
    }
  }

  #find({ path, as }: FilesFrom, result: ExecutionResult): readonly AddedFile[] {
    if (path !== undefined) return [this.#file(result, path, as ?? path)];
    const artifacts = this.#shelf.all(result);
    const folder = as === undefined ? '' : `${as.replace(/\/+$/, '')}/`;
    return artifacts.map((artifact) => this.#file(result, artifact.path, folder + artifact.path));
  }

  #file(result: ExecutionResult, path: string, as: string): AddedFile {
    const { artifact, bytes, read } = this.#shelf.file(result, path);
    return {
      path: as,
      sizeBytes: bytes,
      executable: artifact.executable === true,
      read: () => compared(read, artifact),
    };
  }
}

/** The content, which must be what was listed. */
async function* compared(
  read: (start: number, end: number) => Promise<AsyncIterable<Buffer>>,
  { size, sha256 }: Artifact,
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const bytes of await read(0, size)) {
    hash.update(bytes);
    yield bytes;
  }
  if (hash.digest('hex') !== sha256) throw new ServiceError('internal', 'A stored artifact is damaged.');
}

function told<Value>(field: string, find: () => Value): Value {
  try {
    return find();
  } catch (error) {
    throw named(error, field);
  }
}

/** The error with the reference it is about. */
function named(error: unknown, field: string): unknown {
  if (!(error instanceof ServiceError) || error.status >= 500) return error;
  const { code, message, members, retryAfterSeconds } = error;
  return new ServiceError(code, `${field}: ${message}`, {
    cause: error,
    members: { field, ...members },
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

/**
 * Feeds archives to the archive stage in chunks of chosen sizes and describes what
 * came of it, so that a test can compare verdicts.
 */
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { type ErrorCode, ServiceError } from '../../src/domain/errors.ts';
import type { Project, ProjectEntry } from '../../src/domain/project.ts';
import { DEFAULT_ARCHIVE_LIMITS, readProject, type ReadProjectOptions } from '../../src/archive/read-project.ts';

const CHUNK_SIZES = [1, 512, 1000, 65_536];

export interface Accepted {
  readonly accepted: true;
  readonly entries: readonly ProjectEntry[];
  readonly sha256: string;
  readonly tar: Buffer;
}

export interface Refused {
  readonly accepted: false;
  readonly code: ErrorCode;
  readonly message: string;
  readonly members: Readonly<Record<string, unknown>>;
}

export type Verdict = Accepted | Refused;

/** A directory for spools that is gone, with a check that it is empty, after the test. */
export function spoolDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'archive-test-'));
  onTestFinished(() => {
    const left = [...readdirSync(directory), ...openFilesBelow(directory)];
    rmSync(directory, { recursive: true });
    expect(left, 'left behind in the spool directory').toEqual([]);
  });
  return directory;
}

/** Files below `directory` that this process still holds open, deleted ones included. */
export function openFilesBelow(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(directory) ? [path] : [];
    } catch {
      return [];
    }
  });
}

export async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export async function contentOf(project: Project): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of project.read()) parts.push(part);
  return Buffer.concat(parts);
}

type Options = Partial<Omit<ReadProjectOptions, 'limits'>> & {
  limits?: Partial<ReadProjectOptions['limits']>;
  chunkSizes?: readonly number[];
};

/** What becomes of `source`. Any error that is not a ServiceError fails the test. */
export async function judge(source: AsyncIterable<Uint8Array>, options: Options = {}): Promise<Verdict> {
  try {
    const project = await readProject(source, {
      gzip: 'detect',
      ...options,
      spoolDirectory: options.spoolDirectory ?? tmpdir(),
      limits: { ...DEFAULT_ARCHIVE_LIMITS, ...options.limits },
    });
    const { entries, sha256 } = project;
    const tar = await contentOf(project);
    await project.dispose();
    expect(tar.length).toBe(project.tarBytes);
    return { accepted: true, entries, sha256, tar };
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return { accepted: false, code: error.code, message: error.message, members: error.members };
  }
}

/** The verdict on `bytes`, which must be the same for every chunk size. */
export async function judgeInChunks(bytes: Uint8Array, options: Options = {}): Promise<Verdict> {
  const { chunkSizes = CHUNK_SIZES, ...rest } = options;
  let first: Verdict | undefined;
  for (const size of chunkSizes) {
    const verdict = await judge(chunked(bytes, size), rest);
    first ??= verdict;
    expect(verdict, `chunks of ${size} bytes`).toEqual(first);
  }
  return first as Verdict;
}

export async function expectRefused(bytes: Uint8Array, code: ErrorCode, options: Options = {}): Promise<Refused> {
  const verdict = await judgeInChunks(bytes, options);
  expect(verdict).toMatchObject({ accepted: false, code });
  return verdict as Refused;
}

export async function expectAccepted(bytes: Uint8Array, options: Options = {}): Promise<Accepted> {
  const verdict = await judgeInChunks(bytes, options);
  expect(verdict).toMatchObject({ accepted: true });
  return verdict as Accepted;
}

/** Paths of the entries, links as `path -> target`, directories with a slash. */
export function listing(verdict: Accepted): string[] {
  return verdict.entries.map(({ path, kind, linkTarget }) =>
    kind === 'symlink' ? `${path} -> ${linkTarget}` : kind === 'directory' ? `${path}/` : path,
  );
}

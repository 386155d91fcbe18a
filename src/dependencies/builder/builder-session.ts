/**
 * The conversation with one builder container: requirements in, a lock out, and,
 * when the host agrees to it, a tar of what was installed.
 *
 * The container is not trusted with anything but its own answer: every frame is
 * checked, and the tar goes through the archive gate. What pip says is cut down to
 * sentences about packages before anybody reads it.
 */
import { readFileSync } from 'node:fs';
import { PassThrough, type Duplex } from 'node:stream';
import { z } from 'zod';
import { ServiceError } from '../../domain/errors.ts';
import type { Project } from '../../domain/project.ts';
import { canonicalName } from '../requirements.ts';
import { ConnectionRelay } from './connection-relay.ts';
import { installFailure, resolutionFailure } from './installer-words.ts';
import frameTypes from './frame-types.json' with { type: 'json' };

/** A started builder container, as frames. */
export interface BuilderChannel {
  send(type: number, payload: Buffer): void;
  /** Ends when the container does. Reading slowly slows the container down. */
  frames(): AsyncIterable<{ readonly type: number; readonly payload: Buffer }>;
  /** Removes the container. Never rejects. */
  release(): Promise<void>;
}

/** The way out of one builder. */
export interface BuilderEgress {
  accept(connection: Duplex): void;
  /** Whether the index could not be reached when it was asked for. */
  readonly failed: boolean;
  readonly overflowed: boolean;
  close(): void;
}

export interface BuildJob {
  readonly requirements: readonly string[];
  readonly constraints: readonly string[];
  /** What the image has, versions by name: not installed again where that will do. */
  readonly present: Readonly<Record<string, string>>;
  readonly indexUrl: string;
  /** `host:port` of everything that is asked for, in the clear: the way out does TLS where there is some. */
  readonly indexHosts: readonly string[];
  readonly packagesMax: number;
  readonly bytesMax: number;
  readonly filesMax: number;
}

/** Everything that will be installed, each with the one file it is. */
export interface Lock {
  readonly packages: readonly { readonly name: string; readonly version: string; readonly sha256: string }[];
  /** `name==version --hash=sha256:…`, sorted: what the layer is. */
  readonly lines: readonly string[];
  /** The folder of the interpreter's own packages, where the layer belongs. */
  readonly site: string;
}

const resolvedSchema = z.object({
  packages: z
    .array(
      z.object({
        name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/),
        version: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.!+_-]{0,199}$/),
        sha256: z.string().regex(/^(?:[0-9a-f]{64})?$/),
        direct: z.boolean(),
      }),
    )
    .max(10_000),
  site: z.string().regex(/^\/[A-Za-z0-9._/-]{1,200}$/),
});
const doneSchema = z.object({ files: z.int().nonnegative(), bytes: z.number().nonnegative() });
const failedSchema = z.object({ reason: z.enum(['pip', 'too_large', 'broken']), text: z.string().max(65_536) });

/** What the builder container runs: Python with its source as arguments. */
export function builderCommand(): readonly string[] {
  const source = readFileSync(new URL('./builder.py', import.meta.url), 'utf8');
  const bootstrap = `import sys\nexec(compile(sys.argv[1],'<builder>','exec'),{'__name__':'builder','FRAME_TYPES':${JSON.stringify(frameTypes)}})`;
  return ['python3', '-I', '-c', bootstrap, source];
}

export interface BuildSteps {
  /** Called once with the lock; the layer is installed when it says so. */
  readonly agree: (lock: Lock) => boolean;
  /** Takes the tar while it comes. */
  readonly readTree: (tar: AsyncIterable<Uint8Array>) => Promise<Project>;
}

/**
 * Talks to the builder until there is a layer, or none is wanted.
 * @returns the lock, and what was installed unless `agree` said no.
 * @throws {ServiceError} resolution_failed, installation_failed, index_unreachable, layer_too_large.
 */
export async function buildInContainer(
  channel: BuilderChannel,
  egress: BuilderEgress,
  job: BuildJob,
  steps: BuildSteps,
): Promise<{ lock: Lock; tree: Project | undefined }> {
  const send = (type: number, payload: Buffer) => {
    channel.send(type, payload);
  };
  const sendJson = (type: number, value: unknown) => {
    send(type, Buffer.from(JSON.stringify(value)));
  };
  const relay = new ConnectionRelay(send, (connection) => {
    egress.accept(connection);
  });
  let lock: Lock | undefined;
  const tar = new PassThrough();
  let reading: Promise<Project> | undefined;
  try {
    for await (const { type, payload } of channel.frames()) {
      if (relay.take(type, payload)) continue;
      switch (type) {
        case frameTypes.READY:
          sendJson(frameTypes.BUILD, {
            requirements: job.requirements,
            constraints: job.constraints,
            present: job.present,
            index: job.indexUrl,
            hosts: job.indexHosts,
            bytes_max: job.bytesMax,
            files_max: job.filesMax,
          });
          break;
        case frameTypes.RESOLVED:
          if (lock) throw broken('two locks');
          lock = lockOf(parse(resolvedSchema, payload), job);
          if (!steps.agree(lock)) return { lock, tree: undefined };
          sendJson(frameTypes.INSTALL, { lock: lock.lines });
          break;
        case frameTypes.LAYER:
          if (!lock) throw broken('a layer without a lock');
          reading ??= readTree(tar, steps);
          if (!tar.write(payload)) await Promise.race([drained(tar), reading]);
          break;
        case frameTypes.DONE: {
          parse(doneSchema, payload);
          if (!lock || !reading) throw broken('an end without a layer');
          tar.end();
          return { lock, tree: await reading };
        }
        case frameTypes.FAILED:
          throw failureOf(parse(failedSchema, payload), egress, lock === undefined);
        default:
          throw broken('an unknown frame');
      }
    }
    throw egress.overflowed ? tooLarge() : broken('the builder ended early');
  } catch (error) {
    tar.destroy();
    await reading?.then((tree) => tree.dispose()).catch(() => undefined);
    throw error;
  } finally {
    relay.close();
  }
}

/** A tree that was read to its end, or refused; what is written afterwards is thrown away. */
function readTree(tar: PassThrough, steps: BuildSteps): Promise<Project> {
  const reading = steps.readTree(tar).then(
    (tree) => tree,
    (error: unknown) => {
      tar.on('error', () => undefined);
      if (error instanceof ServiceError && (error.code === 'project_too_large' || error.code === 'too_many_entries')) {
        throw tooLarge();
      }
      throw new ServiceError('installation_failed', 'A package holds files that cannot be installed.', {
        cause: error,
      });
    },
  );
  reading.catch(() => undefined);
  return reading;
}

function drained(tar: PassThrough): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      tar.off('drain', done).off('close', done);
      resolve();
    };
    tar.on('drain', done).on('close', done);
  });
}

function lockOf({ packages, site }: z.infer<typeof resolvedSchema>, job: BuildJob): Lock {
  if (packages.length > job.packagesMax) {
    throw new ServiceError(
      'layer_too_large',
      `The requirements come to ${String(packages.length)} packages; at most ${String(job.packagesMax)} are installed.`,
      { members: { maximum: job.packagesMax } },
    );
  }
  const locked = packages.map(({ name, version, sha256, direct }) => {
    const canonical = canonicalName(name);
    if (direct) {
      throw new ServiceError('resolution_failed', `${canonical} is asked for by URL, not from the index.`);
    }
    if (sha256 === '') throw broken('a package without a hash');
    return { name: canonical, version, sha256 };
  });
  locked.sort((a, b) => (a.name < b.name ? -1 : 1));
  const lines = locked.map(({ name, version, sha256 }) => `${name}==${version} --hash=sha256:${sha256}`);
  return { packages: locked, lines, site };
}

function failureOf(
  { reason, text }: z.infer<typeof failedSchema>,
  egress: BuilderEgress,
  isResolving: boolean,
): ServiceError {
  if (egress.overflowed || reason === 'too_large') return tooLarge(text);
  if (reason === 'broken') return broken(text);
  return isResolving ? resolutionFailure(text, egress.failed) : installFailure(text, egress.failed);
}

function tooLarge(cause?: string): ServiceError {
  return new ServiceError('layer_too_large', 'What would be installed is larger than the operator allows.', { cause });
}

function broken(cause: string): ServiceError {
  return new ServiceError('sandbox_failed', 'The builder broke while it installed the packages.', { cause });
}

function parse<T>(schema: z.ZodType<T>, payload: Buffer): T {
  try {
    return schema.parse(JSON.parse(payload.toString('utf8')));
  } catch (cause) {
    throw new ServiceError('sandbox_failed', 'The builder broke while it installed the packages.', { cause });
  }
}

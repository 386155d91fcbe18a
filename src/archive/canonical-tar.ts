/**
 * Encodes the accepted entries as the canonical tar, with tar-stream's packer.
 *
 * What comes out depends on the accepted names, modes and contents only: the
 * caller's owners, times, flags and headers have no way in. The packer reads from
 * us and writes to the spool as it goes, so nothing piles up.
 *
 * It does not judge: whatever it is given has passed the rules.
 */
import { type Header, type Pack, pack } from 'tar-stream';
import type { ProjectEntry } from '../domain/project.ts';
import type { Spool } from './spool.ts';

type Sink = ReturnType<Pack['entry']>;

/** Not 0: a program that zips its own files needs a time after 1980. */
const MTIME = new Date('2000-01-01T00:00:00Z');

export class CanonicalTar {
  readonly #pack = pack();
  readonly #stored: Promise<void>;
  #failure: Error | undefined;
  #sink: Sink | undefined;
  #entryDone: Promise<void> = Promise.resolve();

  constructor(spool: Spool) {
    this.#pack.on('error', ignore);
    this.#stored = this.#store(spool);
    this.#stored.catch(ignore);
  }

  /** Starts an entry. A file's content follows with `write` and `endFile`. */
  async start(entry: ProjectEntry): Promise<void> {
    this.#entryDone = new Promise((resolve, reject) => {
      if (this.#pack.destroyed) return reject(new Error('the packer is closed'));
      const sink = this.#pack.entry(headerOf(entry), (error) => (error ? reject(error) : resolve()));
      sink.on('error', ignore);
      this.#sink = sink;
    });
    this.#entryDone.catch(ignore);
    if (entry.kind !== 'file') await this.#settled(this.#entryDone);
  }

  /** A promise, when given, must settle before the next call. */
  write(bytes: Uint8Array): Promise<void> | undefined {
    const sink = this.#sink as Sink;
    // A destroyed stream never drains.
    if (sink.destroyed) return this.#settled(Promise.reject(new Error('the packer is closed')));
    return sink.write(bytes) ? undefined : this.#settled(drained(sink));
  }

  async endFile(): Promise<void> {
    this.#sink?.end(null);
    await this.#settled(this.#entryDone);
  }

  async finish(): Promise<void> {
    this.#pack.finalize();
    await this.#settled(this.#stored);
  }

  /** Gives up; resolves once nothing touches the spool any more. */
  async abandon(): Promise<void> {
    this.#pack.destroy();
    await this.#stored.catch(ignore);
  }

  async #store(spool: Spool): Promise<void> {
    for await (const chunk of this.#pack as AsyncIterable<Buffer>) {
      try {
        const full = spool.append(chunk);
        if (full) await full;
      } catch (error) {
        this.#failure = error as Error;
        throw error;
      }
    }
  }

  /** The packer reports a failing spool as its own end; the reason is what counts. */
  async #settled(step: Promise<void>): Promise<void> {
    try {
      await step;
    } catch (error) {
      throw this.#failure ?? error;
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}

function headerOf(entry: ProjectEntry): Partial<Header> & Pick<Header, 'name'> {
  return {
    name: entry.path,
    type: entry.kind,
    size: entry.sizeBytes,
    mode: entry.kind === 'file' && !entry.executable ? 0o644 : 0o755,
    mtime: MTIME,
    ...(entry.linkTarget !== undefined && { linkname: entry.linkTarget }),
  };
}

function drained(sink: Sink): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      sink.off('drain', done);
      sink.off('close', done);
      resolve();
    };
    sink.on('drain', done);
    sink.on('close', done);
  });
}

function ignore(): void {}

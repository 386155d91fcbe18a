/**
 * Layers as images of the daemon: a base, and on top of it the installed packages
 * in the interpreter's own folder. A run on it is an ordinary run: nothing is
 * mounted, and its root is read-only.
 *
 * The packages come as a project that passed the archive gate, and go to the daemon
 * as its canonical tar below a fixed folder. Docker's builder is given two steps and
 * nothing to execute. An image has its name when it is complete; what an interrupted
 * build left has labels and no name. Labels alone make no layer: whatever somebody
 * builds on one has them, too.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { ServiceError } from '../domain/errors.ts';
import type { Project } from '../domain/project.ts';
import { asUnavailable } from './daemon-calls.ts';
import { type DockerDaemon } from './docker-daemon.ts';

const REPOSITORY = 'pyexec-layer';
const INSTANCE_LABEL = 'pyexec.layer.instance';
const KEY_LABEL = 'pyexec.layer.key';
/** Files that say what the image below does not have any more, in an image of Docker's. */
const WHITEOUT = /(?:^|\/)\.wh\./;
/** As the store makes them. */
const KEY = /^[0-9a-f]{64}$/;
const DOCKERFILE = 'Dockerfile';
const TREE = 'layer';
const BLOCK_BYTES = 512;

/** One file's ustar header and content, padded. */
function tarFile(name: string, content: Buffer): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  let sum = 0;
  for (const byte of header) sum += byte;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  const padding = Buffer.alloc((BLOCK_BYTES - (content.length % BLOCK_BYTES)) % BLOCK_BYTES);
  return Buffer.concat([header, content, padding]);
}

export class LayerImages {
  readonly #daemon: DockerDaemon;
  readonly #instance: string;

  /** @param instance whose layers these are: two servers on one daemon keep their own. */
  constructor(daemon: DockerDaemon, instance: string) {
    this.#daemon = daemon;
    this.#instance = instance;
  }

  /**
   * Makes base and tree one image.
   * @returns the image id.
   * @throws {Error} when the tree holds anything outside its folder; {ServiceError} installation_failed when it holds
   *   what would remove files of the base, sandbox_unavailable when the daemon does not build it: whether it did is not
   *   known then.
   */
  async seal(layer: {
    readonly key: string;
    readonly baseImageId: string;
    readonly tree: Project;
    readonly site: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly signal: AbortSignal;
  }): Promise<string> {
    const { baseImageId, key, labels, signal, site, tree } = layer;
    if (!tree.entries.every(({ path }) => path === TREE || path.startsWith(`${TREE}/`))) {
      throw new Error('the tree of a layer leaves its folder');
    }
    if (tree.entries.some(({ path }) => WHITEOUT.test(path))) {
      throw new ServiceError('installation_failed', 'A package holds files that cannot be installed.', {
        cause: 'files that would remove others',
      });
    }
    // The label comes first, so that every image of an interrupted build has it. Commands of packages come
    // last on the path: no name of theirs can stand for one of the system's.
    const steps = [
      `FROM ${baseImageId}`,
      `LABEL ${INSTANCE_LABEL}="${this.#instance}"`,
      `COPY --chown=0:0 ${TREE}/ ${site}/`,
      `ENV PATH="$PATH:${site}/bin"`,
    ];
    const dockerfile = tarFile(DOCKERFILE, Buffer.from(`${steps.join('\n')}\n`));
    const context = Readable.from(
      (async function* () {
        yield dockerfile;
        yield* tree.read();
      })(),
    );
    signal.addEventListener('abort', () => context.destroy(), { once: true });
    try {
      return await this.#daemon.images.build(context, {
        name: this.#nameOf(key),
        dockerfile: DOCKERFILE,
        labels: { ...labels, [KEY_LABEL]: key },
        signal,
      });
    } catch (error) {
      throw asUnavailable(error);
    } finally {
      context.destroy();
    }
  }

  /** Those that have the name of a layer. */
  async list(): Promise<
    readonly { readonly key: string; readonly id: string; readonly labels: Readonly<Record<string, string>> }[]
  > {
    const prefix = this.#nameOf('');
    return (await this.#mine()).flatMap(({ id, names, labels }) => {
      const key = names.find((name) => name.startsWith(prefix))?.slice(prefix.length);
      return key !== undefined && KEY.test(key) ? [{ key, id, labels }] : [];
    });
  }

  /** False when a container still uses it. */
  async remove(key: string): Promise<boolean> {
    if (!(await this.#daemon.images.remove(this.#nameOf(key)))) return false;
    // Somebody may have taken its name from it, and so kept it from going.
    for (const { id, names, labels } of await this.#mine()) {
      const isNameless = names.length === 0 && labels[KEY_LABEL] === key;
      if (isNameless && !(await this.#daemon.images.remove(id))) return false;
    }
    return true;
  }

  /** Removes images without a name that builds of this instance left. */
  async sweep(): Promise<void> {
    for (const { id, names } of await this.#mine()) {
      if (names.length === 0) await this.#daemon.images.remove(id);
    }
  }

  #mine() {
    return this.#daemon.images.listByLabel(`${INSTANCE_LABEL}=${this.#instance}`);
  }

  #nameOf(key: string): string {
    // An instance may be called what an image may not.
    const instance = createHash('sha256').update(this.#instance).digest('hex').slice(0, 16);
    return `${REPOSITORY}/${instance}:${key}`;
  }
}

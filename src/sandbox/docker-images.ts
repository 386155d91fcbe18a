/**
 * The images of the Docker daemon: found, listed, built, removed. Nothing is pulled.
 */
import type { Readable } from 'node:stream';
import { DaemonError, expected, isList, type DaemonCalls } from './daemon-calls.ts';

export class DockerImages {
  readonly #calls: DaemonCalls;

  constructor(calls: DaemonCalls) {
    this.#calls = calls;
  }

  /** The id and labels of a local image; undefined when it is not on this machine. Never pulls. */
  async find(
    reference: string,
  ): Promise<{ id: string; labels: Readonly<Record<string, string>>; sizeBytes: number } | undefined> {
    try {
      return await this.#calls.do('inspect_image', async () => {
        const image = await this.#calls.impatientDocker.getImage(reference).inspect();
        expected(image, typeof image.Id === 'string');
        return { id: image.Id, labels: image.Config.Labels ?? {}, sizeBytes: image.Size };
      });
    } catch (error) {
      if (error instanceof DaemonError && error.statusCode === 404) return undefined;
      throw error;
    }
  }

  /** Every tagged local image, one entry per tag. */
  async listTagged(): Promise<
    readonly { reference: string; id: string; labels: Readonly<Record<string, string>>; sizeBytes: number }[]
  > {
    const images = await this.#calls.do('list_images', async (abortSignal) => {
      const answer = await this.#calls.docker.listImages({ abortSignal });
      return expected(answer, isList(answer));
    });
    return images.flatMap(({ Id, RepoTags, Labels, Size }) =>
      (RepoTags ?? [])
        .filter((reference) => !reference.includes('<none>'))
        .map((reference) => ({ reference, id: Id, labels: Labels ?? {}, sizeBytes: Size })),
    );
  }

  /**
   * Builds an image from a context, without a network. It has its name when this resolves. It may have it, too, when
   * this fails: the answer may be what was lost.
   * @param options.signal aborted: the build is broken off.
   * @returns the image id.
   */
  async build(
    context: Readable,
    options: {
      readonly name: string;
      readonly dockerfile: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly signal: AbortSignal;
    },
  ): Promise<string> {
    return this.#calls.do('build', async (late) => {
      const { name, dockerfile, labels, signal } = options;
      const abortSignal = AbortSignal.any([late, signal]);
      const answer = await this.#calls.docker.buildImage(context, {
        t: name,
        dockerfile,
        labels: { ...labels },
        networkmode: 'none',
        forcerm: true,
        nocache: true,
        version: '1',
        abortSignal,
      });
      let said = '';
      for await (const chunk of answer) said = (said + String(chunk)).slice(-8192);
      const failure = /"error"\s*:\s*"([^"]{0,500})/.exec(said)?.[1];
      if (failure !== undefined) throw new Error(failure);
      const { Id } = await this.#calls.impatientDocker.getImage(name).inspect();
      return expected(Id, typeof Id === 'string');
    });
  }

  /** Every local image with the label, named or not. */
  async listByLabel(
    label: string,
  ): Promise<readonly { id: string; names: readonly string[]; labels: Readonly<Record<string, string>> }[]> {
    const images = await this.#calls.do('list_images', async (abortSignal) => {
      const answer = await this.#calls.docker.listImages({ filters: { label: [label] }, abortSignal });
      return expected(answer, isList(answer));
    });
    return images.map(({ Id, RepoTags, Labels }) => ({
      id: Id,
      names: (RepoTags ?? []).filter((name) => !name.includes('<none>')),
      labels: Labels ?? {},
    }));
  }

  /** Removes an image by name or id with the unnamed ones it was made of. False when it is in use; gone is success. */
  async remove(reference: string): Promise<boolean> {
    try {
      await this.#calls.do('remove_image', (abortSignal) =>
        this.#calls.docker.getImage(reference).remove({ abortSignal }),
      );
      return true;
    } catch (error) {
      if (error instanceof DaemonError && error.statusCode === 404) return true;
      if (error instanceof DaemonError && error.statusCode === 409) return false;
      throw error;
    }
  }
}

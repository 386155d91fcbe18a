/**
 * Whose turn it is to build, what is held while it is handed out, and what goes when there is no room: the store with
 * builders that answer as the real ones do, and a daemon that takes its time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { RunSlots } from '../../../src/admission/run-slots.ts';
import type { BuilderChannel } from '../../../src/dependencies/builder/builder-session.ts';
import frameTypes from '../../../src/dependencies/builder/frame-types.json' with { type: 'json' };
import type { LayerImages } from '../../../src/dependencies/layer-images.ts';
import type { LayerEvent } from '../../../src/dependencies/layer-maker.ts';
import { LayerStore } from '../../../src/dependencies/layer-store.ts';
import { ServiceError } from '../../../src/domain/errors.ts';
import type { Project } from '../../../src/domain/project.ts';

const BASE = { id: 'sha256:base', reference: 'base', packages: {} };
const forever = new AbortController().signal;
const askFor = (name: string) => [{ name, line: name }];

/** A builder that installs the one package it is asked for. */
function builder(): BuilderChannel {
  const asked = Promise.withResolvers<string>();
  const agreed = Promise.withResolvers<undefined>();
  const ended = Promise.withResolvers<undefined>();
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  return {
    send: (type, payload) => {
      if (type === frameTypes.BUILD) {
        const { requirements } = JSON.parse(payload.toString()) as { requirements: string[] };
        asked.resolve(requirements[0] ?? '');
      }
      if (type === frameTypes.INSTALL) agreed.resolve(undefined);
    },
    frames: async function* () {
      yield { type: frameTypes.READY, payload: Buffer.alloc(0) };
      const name = await Promise.race([asked.promise, ended.promise]);
      if (name === undefined) return;
      const packages = [{ name, version: '1.0', sha256: 'a'.repeat(64), direct: false }];
      yield { type: frameTypes.RESOLVED, payload: json({ packages, site: '/site' }) };
      await Promise.race([agreed.promise, ended.promise]);
      yield { type: frameTypes.LAYER, payload: Buffer.alloc(1) };
      yield { type: frameTypes.DONE, payload: json({ files: 1, bytes: 1 }) };
    },
    release: () => {
      ended.resolve(undefined);
      return Promise.resolve();
    },
  };
}

interface Daemon extends LayerImages {
  readonly names: ReadonlySet<string>;
}

/** A daemon that knows images by the keys of their layers. */
function daemon(overrides: { readonly removing?: () => Promise<void> } = {}): Daemon {
  const names = new Set<string>();
  return {
    names,
    seal: async ({ key }) => {
      await sleep(1);
      names.add(key);
      return `sha256:${key}`;
    },
    list: () => Promise.resolve([]),
    remove: async (key) => {
      await overrides.removing?.();
      names.delete(key);
      return true;
    },
    sweep: () => Promise.resolve(),
  };
}

function open(options: {
  readonly images: Daemon;
  readonly totalBytesMax?: number;
  readonly concurrentBuilds?: number;
  readonly buildMsMax?: number;
  readonly dispose?: () => Promise<void>;
  readonly startBuilder?: (build: number) => Promise<BuilderChannel>;
}) {
  const events: LayerEvent[] = [];
  let builds = 0;
  const store = new LayerStore({
    images: options.images,
    policy: { mode: 'any', allowed: new Set() },
    constraints: [],
    indexUrl: 'http://index.example/simple',
    indexHosts: [],
    packagesMax: 10,
    filesMax: 10,
    layerBytesMax: 10,
    totalBytesMax: options.totalBytesMax ?? 100,
    buildMsMax: options.buildMsMax ?? 10_000,
    lockMsMax: 60_000,
    places: new RunSlots({ concurrent: options.concurrentBuilds ?? 4, queueMax: 32 }),
    startBuilder: () => options.startBuilder?.((builds += 1)) ?? Promise.resolve(builder()),
    openEgress: () => ({ accept: () => undefined, failed: false, overflowed: false, close: () => undefined }),
    indexAnswers: () => Promise.resolve(true),
    readTree: async (tar) => {
      for await (const part of tar) void part;
      const dispose = options.dispose ?? (() => Promise.resolve());
      return { contentBytes: 3, dispose } as unknown as Project;
    },
    letGo: () => Promise.resolve(),
    observe: (event) => events.push(event),
  });
  const built = () => events.filter(({ kind }) => kind === 'installed').length;
  return { store, events, built };
}

describe('at the bound of the bytes', () => {
  it('a layer that was just made is there for whoever asked for it, however many others are made', async () => {
    const images = daemon();
    // The project of a layer takes longer to be freed than another layer to be made.
    const { store, built } = open({ images, totalBytesMax: 4, dispose: () => sleep(20) });
    const names = Array.from({ length: 12 }, (_, number) => `p${String(number)}`);
    const used = await Promise.all(
      names.map(async (name, number) => {
        await sleep(7 * number);
        const lease = await store.prepare(BASE, askFor(name), 'somebody', forever);
        expect(images.names).toContain(lease.key);
        lease.release();
        return lease.packages[0];
      }),
    );
    expect(used).toEqual(names.map((name) => `${name}==1.0`));
    expect(built()).toBe(names.length);
    await sleep(5);
    await store.close();
    expect(store.bytes).toBe(3);
    expect(images.names.size).toBe(1);
  });

  it('what was over it because it was in use goes when it no longer is; the last one used stays', async () => {
    const images = daemon();
    const { store } = open({ images, totalBytesMax: 4 });
    const leases = [];
    for (const name of ['a', 'b', 'c']) leases.push(await store.prepare(BASE, askFor(name), 'somebody', forever));
    expect(store.bytes).toBe(9);
    for (const lease of leases) lease.release();
    await store.close();
    expect([...images.names]).toEqual([leases[2]?.key]);
  });

  it('a layer that is made anew while its image is removed is not removed with it', async () => {
    const held = Promise.withResolvers<undefined>();
    let removals = 0;
    const removing = async () => {
      removals += 1;
      if (removals === 1) await held.promise;
    };
    const images = daemon({ removing });
    const { store } = open({ images, totalBytesMax: 4 });
    (await store.prepare(BASE, askFor('a'), 'somebody', forever)).release();
    const other = store.prepare(BASE, askFor('b'), 'somebody', forever);
    while (removals === 0) await sleep(1);
    const again = store.prepare(BASE, askFor('a'), 'somebody', forever);
    await sleep(20);
    held.resolve(undefined);
    const lease = await again;
    expect(images.names).toContain(lease.key);
    lease.release();
    (await other).release();
    await store.close();
  });
});

it('what took too long is refused for no longer than whoever waits for it is told', async () => {
  const silent = { ...builder(), send: () => undefined };
  const { store } = open({ images: daemon(), buildMsMax: 20, startBuilder: () => Promise.resolve(silent) });
  // An answer says when to come again by the code alone.
  const { retryAfterSeconds } = new ServiceError('installation_timeout', '');
  await expect(store.prepare(BASE, askFor('slow'), 'somebody', forever)).rejects.toMatchObject({
    code: 'installation_timeout',
    retryAfterSeconds,
  });
  await store.close();
});

describe('a place to build', () => {
  /** A store with one place, taken by a build that goes on until it is let. */
  async function busy() {
    const held = Promise.withResolvers<undefined>();
    let isFirst = true;
    const opened = open({
      images: daemon(),
      concurrentBuilds: 1,
      startBuilder: async () => {
        if (isFirst) {
          isFirst = false;
          await held.promise;
        }
        return builder();
      },
    });
    const first = opened.store.prepare(BASE, askFor('first'), 'greedy', forever);
    await sleep(5);
    return { ...opened, first, go: () => held.resolve(undefined) };
  }

  it('is not kept for packages nobody waits for any more, and they are no failure', async () => {
    const { store, events, first, go } = await busy();
    const leaving = new AbortController();
    const left = ['x', 'y', 'z'].map((name) => store.prepare(BASE, askFor(name), 'greedy', leaving.signal));
    const both = new AbortController();
    const shared = [
      store.prepare(BASE, askFor('shared'), 'greedy', both.signal),
      store.prepare(BASE, askFor('shared'), 'other', forever),
    ];
    const settled = Promise.allSettled([...left, shared[0]]);
    leaving.abort();
    both.abort();
    expect((await settled).map(({ status }) => status)).toEqual(Array.from({ length: 4 }, () => 'rejected'));
    // Whoever asks for them again has them made.
    const back = store.prepare(BASE, askFor('x'), 'greedy', forever);
    go();
    expect((await shared[1])?.packages).toEqual(['shared==1.0']);
    expect((await back).packages).toEqual(['x==1.0']);
    await first;
    await store.close();
    const made = events.flatMap((event) => (event.kind === 'installed' ? event.lines : []));
    expect(made.map((line) => line.split('==')[0]).sort()).toEqual(['first', 'shared', 'x']);
    expect(events.some(({ kind }) => kind === 'failed')).toBe(false);
  });

  it('that has begun is seen through, and found by who comes back', async () => {
    const { store, first, go, built } = await busy();
    const leaving = new AbortController();
    const alone = store.prepare(BASE, askFor('first'), 'greedy', leaving.signal);
    leaving.abort();
    await expect(alone).rejects.toThrow();
    go();
    await first;
    await store.prepare(BASE, askFor('first'), 'greedy', forever);
    expect(built()).toBe(1);
    await store.close();
  });

  it('goes round between callers', async () => {
    const { store, events, go } = await busy();
    const waiting = ['g1', 'g2', 'g3', 'g4'].map((name) => store.prepare(BASE, askFor(name), 'greedy', forever));
    waiting.push(store.prepare(BASE, askFor('modest'), 'modest', forever));
    go();
    await Promise.all(waiting);
    await store.close();
    const callers = events.flatMap((event) => (event.kind === 'installed' ? [event.caller] : []));
    expect(callers.indexOf('modest')).toBe(1);
  });
});

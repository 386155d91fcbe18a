/**
 * What must hold for any bytes: a verdict or a ServiceError, the same however they
 * are cut, and never a way out of the root.
 */
import { execFileSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { archive, directory, file, gnuLong, pax, seal, symlink } from '../../support/hostile-archives.ts';
import { chunked, judge, judgeInChunks } from '../../support/archive-verdict.ts';
import { HAS_PYTHON, unpackWithTar } from '../../support/archive-extraction.ts';

const valid = archive(
  pax({ comment: 'c' }, 'g'),
  directory('pkg/'),
  file('pkg/a.py', 'x'.repeat(700)),
  pax({ path: `pkg/${'n'.repeat(120)}.py`, mtime: '1.5' }),
  file('n', 'y'.repeat(513)),
  gnuLong('K', `pkg/${'t'.repeat(120)}`),
  gnuLong('L', `pkg/${'l'.repeat(120)}`),
  symlink('l', 't'),
  file('empty', ''),
  symlink('pkg/up', '..'),
  file('main.py'),
);
const blocks = valid.length / 512;

type Mutation = (bytes: Buffer) => Buffer;
const block = fc.integer({ min: 0, max: blocks - 1 });
const splice = (bytes: Buffer, start: number, end: number, ...inserted: Buffer[]) =>
  Buffer.concat([bytes.subarray(0, start), ...inserted, bytes.subarray(end)]);

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(fc.nat(valid.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, bits]): Mutation => (bytes) => {
    const changed = Buffer.from(bytes);
    if (at < changed.length) changed[at] = (changed[at] as number) ^ bits;
    return changed;
  }),
  // A field of a header, with a checksum that fits.
  fc
    .tuple(
      block,
      fc.constantFrom(0, 100, 124, 125, 135, 156, 157, 257, 345),
      fc.uint8Array({ minLength: 1, maxLength: 12 }),
    )
    .map(([at, offset, field]): Mutation => (bytes) => {
      const changed = Buffer.from(bytes);
      const header = changed.subarray(at * 512, at * 512 + 512);
      if (header.length < 512) return changed;
      Buffer.from(field).copy(header, offset);
      seal(header);
      return changed;
    }),
  fc
    .tuple(block, fc.constantFrom('0', '1', '2', '5', '7', 'x', 'g', 'L', 'K', 'S', '\0'))
    .map(([at, type]): Mutation => (bytes) => {
      const changed = Buffer.from(bytes);
      const header = changed.subarray(at * 512, at * 512 + 512);
      if (header.length < 512) return changed;
      header.write(type, 156, 'latin1');
      seal(header);
      return changed;
    }),
  fc.tuple(block, fc.constantFrom(0, 1, 511, 512, 513, 1024, 2 ** 33 - 1)).map(([at, size]): Mutation => (bytes) => {
    const changed = Buffer.from(bytes);
    const header = changed.subarray(at * 512, at * 512 + 512);
    if (header.length < 512) return changed;
    header.write(`${size.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
    seal(header);
    return changed;
  }),
  fc.nat(valid.length).map(
    (length): Mutation =>
      (bytes) =>
        bytes.subarray(0, length),
  ),
  block.map(
    (at): Mutation =>
      (bytes) =>
        splice(bytes, at * 512, at * 512 + 512),
  ),
  fc.tuple(block, block).map(
    ([at, from]): Mutation =>
      (bytes) =>
        splice(bytes, at * 512, at * 512, bytes.subarray(from * 512, from * 512 + 512)),
  ),
  fc.tuple(fc.nat(valid.length), fc.uint8Array({ minLength: 1, maxLength: 600 })).map(
    ([at, inserted]): Mutation =>
      (bytes) =>
        splice(bytes, at, at, Buffer.from(inserted)),
  ),
);
const mutations = fc.array(mutation, { minLength: 1, maxLength: 4 });
const chunkSize = fc.integer({ min: 1, max: 2000 });

describe('a mutated archive', () => {
  it('starts from one that is accepted', async () => {
    expect(await judgeInChunks(valid)).toMatchObject({ accepted: true });
  });

  it('gets one verdict however it is cut, and no error but a ServiceError', async () => {
    const codes = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(mutations, chunkSize, async (changes, size) => {
        const bytes = changes.reduce((changed, change) => change(changed), valid);
        const verdict = await judgeInChunks(bytes, { chunkSizes: [size, 1, 512, 65_536] });
        const code = verdict.accepted ? 'accepted' : verdict.code;
        codes.set(code, (codes.get(code) ?? 0) + 1);
        if (verdict.accepted) {
          expect(await judge(chunked(verdict.tar, 1000))).toEqual(verdict);
          for (const { path } of verdict.entries) {
            expect(
              path.split('/').some((part) => part === '' || part === '.' || part === '..'),
              path,
            ).toBe(false);
          }
        }
      }),
      { numRuns: 300 },
    );
    // The mutations reach far beyond the checksum.
    expect(codes.size).toBeGreaterThan(8);
    expect(codes.get('accepted')).toBeGreaterThan(10);
  }, 60_000);

  it('in gzip gets one verdict however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(mutations, fc.boolean(), chunkSize, async (changes, isInside, size) => {
        const change = (bytes: Buffer) => changes.reduce((changed, each) => each(changed), bytes);
        const bytes = isInside ? gzipSync(change(valid), { level: 1 }) : change(gzipSync(valid, { level: 0 }));
        await judgeInChunks(bytes, { chunkSizes: [size, 65_536] });
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  it('that is accepted unpacks below the root only', async () => {
    let unpacked = 0;
    await fc.assert(
      fc.asyncProperty(mutations, async (changes) => {
        const verdict = await judge(
          chunked(
            changes.reduce((changed, change) => change(changed), valid),
            65_536,
          ),
        );
        if (!verdict.accepted || unpacked >= 25) return;
        unpacked++;
        // The lister walks the target directory, so an entry that left it would be missing here.
        expect(unpackWithTar(verdict.tar).map(({ path }) => path)).toEqual(
          verdict.entries.map(({ path }) => path).sort(),
        );
      }),
      { numRuns: 250 },
    );
    expect(unpacked).toBeGreaterThan(3);
  }, 60_000);
});

describe('bytes that were never an archive', () => {
  it('are refused', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), chunkSize, async (bytes, size) => {
        expect(await judgeInChunks(bytes, { chunkSizes: [size, 65_536] })).toMatchObject({ accepted: false });
      }),
      { numRuns: 100 },
    );
  });
});

/**
 * Creates each set of links on a real file system and reports, link by link, whether
 * the way to its end leaves the root, goes round in a circle, or stays inside.
 */
const ORACLE = `
import json, os, sys, tempfile
answers = []
with tempfile.TemporaryDirectory() as base:
    base = os.path.realpath(base)
    for number, links in enumerate(json.load(sys.stdin)):
        root = os.path.join(base, 'x/y/z', str(number), 'root')
        os.makedirs(root)
        for path, target in links:
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            os.symlink(target, os.path.join(root, path))
        answer = []
        for path, _ in links:
            full = os.path.join(root, path)
            try:
                os.stat(full)
            except OSError as error:
                if error.errno == 40:
                    answer.append('loop')
                    continue
            here = os.path.realpath(os.path.dirname(full))
            leaves = False
            for step in os.readlink(full).split('/'):
                here = os.path.dirname(here) if step == '..' else os.path.realpath(os.path.join(here, step))
                leaves = leaves or not (here + '/').startswith(root + '/')
            answer.append('outside' if leaves else 'inside')
        answers.append(answer)
json.dump(answers, sys.stdout)
`;

describe('links', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const place = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
  const step = fc.oneof(
    { weight: 3, arbitrary: name },
    { weight: 2, arbitrary: fc.constant('..') },
    { weight: 1, arbitrary: fc.constant('.') },
  );
  const target = fc.array(step, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));
  const links = fc.array(fc.tuple(place, target), { minLength: 1, maxLength: 7 });

  it.skipIf(!HAS_PYTHON)(
    'are accepted exactly when a real file system keeps all of them inside',
    async () => {
      const samples = fc.sample(links, 1500).map((all) => {
        const taken = new Set<string>();
        // Every link at a place of its own, with none above or below another.
        return all.filter(([path]) => {
          if (
            [...taken].some((other) => other === path || other.startsWith(`${path}/`) || path.startsWith(`${other}/`))
          )
            return false;
          taken.add(path);
          return true;
        });
      });
      const output = execFileSync('python3', ['-c', ORACLE], { input: JSON.stringify(samples), maxBuffer: 1 << 26 });
      const answers = JSON.parse(output.toString()) as string[][];

      const counts = { accepted: 0, link_escape: 0, link_loop: 0 };
      for (const [i, all] of samples.entries()) {
        const tar = archive(file('main.py'), ...all.map(([path, to]) => symlink(path, to)));
        const verdict = await judge(chunked(tar, 65_536));
        const code = verdict.accepted ? 'accepted' : verdict.code;
        const answer = answers[i] as string[];
        const what = JSON.stringify({ all, answer, code });
        if (code === 'accepted') expect(new Set(answer), what).toEqual(new Set(['inside']));
        else if (code === 'link_escape') expect(answer, what).toContain('outside');
        // The kernel gives up at a missing name, before it comes to a circle behind it.
        else expect(answer.includes('loop') || all.some(([, to]) => to.includes('..')), what).toBe(true);
        counts[code as keyof typeof counts]++;
      }
      expect(Math.min(counts.accepted, counts.link_escape, counts.link_loop)).toBeGreaterThan(20);
    },
    60_000,
  );
});

/** What the host takes of a run's files, whatever a container says about them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Artifact, ArtifactWish } from '../../../src/domain/artifacts.ts';
import { newExecutionId } from '../../../src/domain/execution.ts';
import { ArtifactIntake } from '../../../src/execution/artifact-intake.ts';
import { ArtifactFrames } from '../../../src/sandbox/artifact-frames.ts';
import {
  encodeFrame,
  encodeJsonFrame,
  FRAME,
  FrameDecoder,
  ProtocolError,
} from '../../../src/sandbox/supervisor/protocol.ts';
import { ArtifactFiles } from '../../../src/store/artifact-files.ts';
import { filesOf } from '../../support/artifacts.ts';
import { PLAN } from './plan-and-report.ts';

const WISH: ArtifactWish = { patterns: [], inlineBytes: 4, files: 3, bytes: 100 };

let directory: string;
const intakes: ArtifactIntake[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pyexec-intake-'));
});
afterEach(async () => {
  // Closes the files of those that were not finished.
  for (const taking of intakes.splice(0)) await taking.finish();
  rmSync(directory, { recursive: true });
});

function intake(wish = WISH, at = directory) {
  const told: Artifact[] = [];
  const taking = new ArtifactIntake(
    wish,
    new ArtifactFiles(() => join(at, 'run')).create(newExecutionId()),
    (artifact) => told.push(artifact),
  );
  intakes.push(taking);
  return { taking, told };
}

async function give(taking: ArtifactIntake, path: string, text: string, isComplete = true) {
  taking.begin({ path, size: isComplete ? text.length : text.length + 1, executable: false });
  await taking.data(Buffer.from(text));
  await taking.end(isComplete);
}

const kept = async () => {
  const files = await filesOf(readFileSync(join(directory, 'run', 'artifacts.tar')));
  return [...files].map(([path, { content }]) => [path, content.toString()]);
};

describe('the intake', () => {
  it('keeps what is complete, in one private file, and says so file by file', async () => {
    const { taking, told } = intake();
    await give(taking, 'a', 'one');
    await give(taking, 'long', 'x'.repeat(30));
    const report = await taking.finish();
    expect(report.artifacts.map(({ path, size, content }) => [path, size, content])).toEqual([
      ['a', 3, 'b25l'],
      ['long', 30, undefined],
    ]);
    expect(told.map((artifact) => [artifact.path, 'content' in artifact])).toEqual([
      ['a', false],
      ['long', false],
    ]);
    expect(await kept()).toEqual([
      ['a', 'one'],
      ['long', 'x'.repeat(30)],
    ]);
    expect(readdirSync(directory)).toEqual(['run']);
    expect(statSync(join(directory, 'run', 'artifacts.tar')).mode & 0o777).toBe(0o600);
  });

  it('forgets what was given up in the middle, and what follows is whole', async () => {
    const { taking } = intake();
    await give(taking, 'half', 'y'.repeat(600), false);
    await give(taking, 'next', 'z');
    const report = await taking.finish();
    expect(report.artifacts.map(({ path }) => path)).toEqual(['next']);
    expect(await kept()).toEqual([['next', 'z']]);
  });

  it.each(['../../escape', '/etc/cron.d/x', 'a\nb', 'half\ud800', ''])('does not take the name %j', async (path) => {
    const { taking } = intake();
    await give(taking, path, 'evil');
    await give(taking, 'good', 'x');
    const report = await taking.finish();
    expect(report.artifacts.map((artifact) => artifact.path)).toEqual(['good']);
    expect(report.skipped).toEqual([{ path: path.toWellFormed(), reason: 'name' }]);
    expect(readdirSync(directory)).toEqual(['run']);
  });

  it('takes a name once', async () => {
    const { taking } = intake();
    await give(taking, 'a', '1');
    await give(taking, 'a', '2');
    expect((await taking.finish()).skippedCount).toBe(1);
    expect(await kept()).toEqual([['a', '1']]);
  });

  it('makes nothing where nothing comes', async () => {
    const { taking } = intake();
    expect(await taking.finish()).toEqual({ artifacts: [], skipped: [], skippedCount: 0 });
    expect(readdirSync(directory)).toEqual([]);
  });

  it('names what there was no room for; the result is not lost over it', async () => {
    const { taking } = intake(WISH, '/dev/full');
    await give(taking, 'a', '1');
    expect(await taking.finish()).toEqual({
      artifacts: [],
      skipped: [{ path: 'a', reason: 'storage' }],
      skippedCount: 1,
    });
  });
});

describe('R12 the frames', () => {
  const decode = (bytes: Buffer) => [...new FrameDecoder().push(bytes)];
  const header = (change: object = {}) =>
    encodeJsonFrame(FRAME.ARTIFACT, { token: 'secret', path: 'a', size: 3, executable: false, ...change });
  const data = (text: string) => encodeFrame(FRAME.ARTIFACT_DATA, Buffer.from(text));

  async function take(frames: readonly Buffer[], wish: ArtifactWish | undefined = WISH) {
    const { taking } = intake();
    const { artifacts: _, ...plan } = { ...PLAN, artifacts: undefined };
    const reader = new ArtifactFrames(wish ? { ...plan, artifacts: wish } : plan, taking, 'secret');
    for (const frame of decode(Buffer.concat(frames))) await reader.take(frame);
    await reader.finish();
    return (await taking.finish()).artifacts.map(({ path, size }) => [path, size]);
  }

  it('give the files they say', async () => {
    expect(await take([header(), data('ab'), data('c'), header({ path: 'b', size: 0 })])).toEqual([
      ['a', 3],
      ['b', 0],
    ]);
    expect(await take([header(), data('ab'), header({ path: 'b', size: 1 }), data('x')])).toEqual([['b', 1]]);
    expect(await take([header(), data('ab')])).toEqual([]);
  });

  it.each([
    ['a token of its own', [header({ token: 'guess' })]],
    ['data without a header', [data('x')]],
    ['more data than was said', [header(), data('abcd')]],
    ['data after the end', [header(), data('abc'), data('d')]],
    ['more files than allowed', [1, 2, 3, 4].map((n) => header({ path: String(n), size: 0 }))],
    ['more bytes than allowed', [header({ size: 101 })]],
    ['a negative size', [header({ size: -1 })]],
    ['half a size', [header({ size: 1.5 })]],
    ['no path', [header({ path: '' })]],
    ['a path without end', [header({ path: 'a'.repeat(4001) })]],
    ['no JSON', [encodeFrame(FRAME.ARTIFACT, Buffer.from('{'))]],
    [
      'skipped files of somebody else',
      [encodeJsonFrame(FRAME.ARTIFACTS_SKIPPED, { token: 'x', skipped: [], count: 1 })],
    ],
    [
      'a reason that is none',
      [
        encodeJsonFrame(FRAME.ARTIFACTS_SKIPPED, {
          token: 'secret',
          skipped: [{ path: 'a', reason: 'why' }],
          count: 1,
        }),
      ],
    ],
  ])('%s is a broken protocol', async (_, frames) => {
    await expect(take(frames)).rejects.toThrow(ProtocolError);
  });

  it('are not taken where nobody asked', async () => {
    const { taking } = intake();
    const reader = new ArtifactFrames(PLAN, taking, 'secret');
    const [frame] = decode(header());
    if (frame) await expect(reader.take(frame)).rejects.toThrow(ProtocolError);
  });
});

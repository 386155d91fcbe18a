/** The tar of artifacts is read by others as it was written, and lies where the layout says. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { checkedArtifactPath, tarHeader, tarLayout, tarPadding } from '../../../src/archive/artifact-tar.ts';
import { filesOf } from '../../support/artifacts.ts';

const directory = mkdtempSync(join(tmpdir(), 'pyexec-artifact-tar-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const FILES = [
  ['a', 'x'],
  ['empty', ''],
  ['block', 'b'.repeat(512)],
  ['n'.repeat(100), 'just fits'],
  ['n'.repeat(101), 'does not'],
  [`${'deep/'.repeat(60)}${'f'.repeat(200)}`, 'deep'],
  ['é 漢 😀', 'not ASCII'],
  ...[83, 84, 85, 86, 87, 88, 983, 984, 985].map(
    (length) => [`${'d/'.repeat(40)}${'é'.repeat(50)}/${'p'.repeat(length % 200)}${String(length)}`, 'pax'] as const,
  ),
] as const;

function tarOf(): Buffer {
  const parts = FILES.flatMap(([path, text], index) => [
    tarHeader(path, Buffer.byteLength(text), index === 0),
    Buffer.from(text),
    tarPadding(Buffer.byteLength(text)),
  ]);
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

describe('the tar', () => {
  it('is read by tar-stream', async () => {
    const files = await filesOf(tarOf());
    expect([...files].map(([path, { content }]) => [path, content.toString()])).toEqual(FILES);
    expect([...files.values()].map(({ mode }) => mode)).toEqual([0o755, ...FILES.slice(1).map(() => 0o644)]);
  });

  it('is read by tar', () => {
    const file = join(directory, 'a.tar');
    writeFileSync(file, tarOf());
    execFileSync('tar', ['-xf', file, '-C', directory]);
    for (const [path, text] of FILES) expect(readFileSync(join(directory, path), 'utf8'), path).toBe(text);
  });

  it('is as long as the layout says', () => {
    const files = FILES.map(([path, text]) => ({ path, size: Buffer.byteLength(text) }));
    expect(tarLayout(files).bytes).toBe(tarOf().length);
    expect(tarLayout([])).toEqual({ end: 0, bytes: 1024 });
    const [first] = files;
    if (first) expect(tarLayout([first]).end).toBe(1024);
  });
});

it.each([
  '/etc/passwd',
  '../up',
  'a/../../b',
  'a//b',
  './a/./b',
  '',
  'a/',
  'new\nline',
  'back\\slash',
  'half\ud800',
  'x\ufffd',
  'n'.repeat(256),
])('a path no project could have is refused: %j', (path) => {
  expect(() => checkedArtifactPath(path)).toThrow();
});

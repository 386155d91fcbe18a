/** The disk that test/support/lost-power.ts rebuilds, against a small program whose disk can be told by hand. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { random } from '../../../chaos/random.ts';
import { LostPower, type Keeping } from '../../support/lost-power.ts';
import { momentsOf, straceCommand, stringsOf } from '../../support/traced-calls.ts';

const PROGRAM = `
import * as fs from 'node:fs';
import { open } from 'node:fs/promises';
const root = process.argv[1];
const sync = (path) => { const of = fs.openSync(path, 'r'); fs.fsyncSync(of); fs.closeSync(of); };
const say = (what) => fs.writeSync(1, what);
const file = fs.openSync(root + '/a', 'w');
fs.writeSync(file, 'one');
say('WRITTEN');
fs.fsyncSync(file);
say('SYNCED');
sync(root);
say('NAMED');
fs.writevSync(file, [Buffer.from(' two'), Buffer.from(' three')]);
fs.writeSync(file, 'O', 0);
fs.mkdirSync(root + '/d');
const handle = await open(root + '/d/b', 'w');
await handle.write(Buffer.alloc(10000, 'x'), 0, 10000, 0);
await handle.datasync();
await handle.truncate(5000);
await handle.close();
fs.appendFileSync(root + '/d/c', 'first');
fs.appendFileSync(root + '/d/c', ' second');
say('MORE');
sync(root);
sync(root + '/d');
say('ALL NAMED');
fs.renameSync(root + '/d/b', root + '/e');
fs.rmSync(root + '/a');
say('MOVED');
process.kill(process.pid, 'SIGKILL');
`;

const hasStrace = spawnSync('strace', ['-V']).status === 0;

/** Every file below a directory, by its path. */
function filesOf(directory: string): Record<string, string> {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map(({ parentPath, name }) => join(parentPath, name));
  return Object.fromEntries(paths.map((path) => [path.slice(directory.length + 1), readFileSync(path, 'latin1')]));
}

describe.skipIf(!hasStrace)('a disk without what was not synced', () => {
  const directory = mkdtempSync(join(tmpdir(), 'pyexec-lost-power-'));
  const root = join(directory, 'root');
  let trace = '';
  beforeAll(() => {
    mkdirSync(root);
    const file = join(directory, 'trace');
    const node = [process.execPath, '--input-type=module', '-e', PROGRAM, root];
    const [command = '', ...args] = straceCommand(file, node);
    const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
    expect(stdout, stderr).toBe('WRITTENSYNCEDNAMEDMOREALL NAMEDMOVED');
    trace = readFileSync(file, 'latin1');
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  /** What is on the disk when the program has said this. */
  function at(mark: string, keeping: Keeping): Record<string, string> {
    const disk = new LostPower(root);
    for (const moment of momentsOf(trace)) {
      disk.take(moment);
      const { name, text } = moment.call;
      if (name === 'write' && text.startsWith('1<') && stringsOf(moment.call)[0]?.toString() === mark) break;
    }
    const target = mkdtempSync(join(directory, 'rebuilt-'));
    disk.rebuild(target, keeping);
    return filesOf(target);
  }

  test('everything is what is there', () => {
    expect(at('MOVED', 'everything')).toEqual(filesOf(root));
  });

  test('a file is there once it was synced and its directory, too, and as it was then', () => {
    expect(at('WRITTEN', 'synced')).toEqual({});
    expect(at('SYNCED', 'synced')).toEqual({});
    expect(at('NAMED', 'synced')).toEqual({ a: 'one' });
    expect(at('MORE', 'synced')).toEqual({ a: 'one' });
    const named = { a: 'one', 'd/b': 'x'.repeat(10_000), 'd/c': '' };
    expect(at('ALL NAMED', 'synced')).toEqual(named);
    expect(at('MOVED', 'synced')).toEqual(named);
  });

  test('what was not synced may be there in any part', () => {
    const found = (mark: string) =>
      [...Array(60).keys()].map((seed) => {
        const next = random(seed);
        return at(mark, (versions) => Math.floor(next() * versions))['a'] ?? 'no file';
      });
    expect([...new Set(found('WRITTEN'))].toSorted()).toEqual(['', '\0\0\0', 'no file', 'one']);
    expect([...new Set(found('NAMED'))]).toEqual(['one']);
    expect([...new Set(found('MORE'))].toSorted()).toEqual(
      ['one', `one${'\0'.repeat(10)}`, 'one two three', 'One two three', 'One'].toSorted(),
    );
  });
});

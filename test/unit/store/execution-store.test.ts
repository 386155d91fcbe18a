/** The store: what it recorded is there after every crash, within its bounds, and a disk that fails is said and survived. */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newExecutionId, type ExecutionId } from '../../../src/domain/execution.ts';
import { SQL } from '../../../src/store/execution-rows.ts';
import { ExecutionStore, type Retention } from '../../../src/store/execution-store.ts';
import { StateDirectory } from '../../../src/store/state-directory.ts';
import { Sweeper } from '../../../src/store/sweeper.ts';
import { eventsThatPrint, fillStore, finishedResult, resultOf } from '../../support/stored-executions.ts';

const ROOMY: Retention = { ttlMs: 3_600_000, bytesMax: 2 ** 40, countMax: 10 ** 9 };

let path: string;
let state: StateDirectory;
let opened: ExecutionStore[];
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'pyexec-store-'));
  state = StateDirectory.open(path);
  opened = [];
});
afterEach(() => {
  for (const store of opened) store.close();
  state.close();
  rmSync(path, { recursive: true });
});

function openStore(retention: Partial<Retention> = {}): ExecutionStore {
  const store = new ExecutionStore(state, { ...ROOMY, ...retention });
  opened.push(store);
  return store;
}

function accept(store: ExecutionStore, id: ExecutionId = newExecutionId()): ExecutionId {
  store.accept({ id, ownerId: 'ada', result: resultOf(id), form: undefined });
  return id;
}

function finish(store: ExecutionStore, text = 'hello\n'): ExecutionId {
  const id = accept(store);
  store.starting(id, 'pyexec-1');
  store.finish(id, finishedResult(id), eventsThatPrint(id, text));
  return id;
}

test('the write-ahead log does not grow with the first commits, nor the database with it', () => {
  const store = openStore();
  const sizes = () => ['state.sqlite-wal', 'state.sqlite'].map((name) => statSync(join(path, name)).size);
  const [log, database] = sizes();
  expect(database).toBeLessThan(100_000);
  const ids = Array.from({ length: 50 }, () => finish(store));
  expect(sizes()[0]).toBe(log);
  store.close();
  opened = [];
  expect(ids.map((id) => openStore().read(id)?.state)).toEqual(ids.map(() => 'done'));
});

describe('an execution', () => {
  test('is starting from the first on where its container is known', () => {
    const store = openStore();
    const id = newExecutionId();
    store.accept({ id, ownerId: 'ada', result: resultOf(id), form: undefined }, { container: 'pyexec-1' });
    expect(store.read(id)?.state).toBe('starting');
  });

  test('goes from accepted over starting to done, and is read as it was written', () => {
    const store = openStore();
    const id = newExecutionId();
    const form = { door: 'a', facts: { b: [1] } };
    store.accept({ id, ownerId: 'ada', result: resultOf(id), form });
    expect(store.read(id)).toMatchObject({ id, ownerId: 'ada', state: 'accepted', form, events: { lastSeq: 0 } });
    store.starting(id, 'pyexec-1');
    expect(store.read(id)?.state).toBe('starting');
    expect(store.size).toBe(0);
    const events = eventsThatPrint(id, 'ä\u0000😀');
    const result = finishedResult(id);
    store.finish(id, result, events);
    expect(store.read(id)).toEqual({ id, ownerId: 'ada', state: 'done', result, form, shownSeq: 0, events });
    expect(store.size).toBe(1);
  });

  test('ends once', () => {
    const store = openStore();
    const id = finish(store);
    expect(() => {
      store.finish(id, resultOf(id), eventsThatPrint(id, 'other'));
    }).toThrow('not in the records');
    expect(store.read(id)).toMatchObject({ result: { status: 'completed' } });
    expect(store.size).toBe(1);
  });

  test('is there after the process is gone, done or not', () => {
    const before = openStore();
    const done = finish(before);
    const open = accept(before);
    // No close: the files are as a crash leaves them.
    const after = openStore();
    expect(after.read(done)).toEqual(before.read(done));
    expect(after.unfinished(10).map(({ id }) => id)).toEqual([open]);
    expect([after.size, after.bytes]).toEqual([before.size, before.bytes]);
  });

  test('that nobody recorded is not there', () => {
    const store = openStore();
    expect(store.read('exe_x')).toBeUndefined();
    expect(store.has('exe_x')).toBe(false);
  });
});

describe('a key', () => {
  test('stands for an execution of one caller, and goes with it', () => {
    const store = openStore({ ttlMs: 1 });
    const id = newExecutionId();
    store.accept({ id, ownerId: 'ada', result: resultOf(id), form: undefined }, { key: { key: 'k', request: 'r' } });
    expect(store.byKey('ada', 'k')).toEqual({ id, request: 'r' });
    expect(store.byKey('bob', 'k')).toBeUndefined();
    store.finish(id, finishedResult(id, new Date(Date.now() - 10)), eventsThatPrint(id, ''));
    store.removeDue(10);
    expect(store.byKey('ada', 'k')).toBeUndefined();
  });

  test('can stand for another execution later', () => {
    const store = openStore();
    for (const request of ['r', 's']) {
      const id = newExecutionId();
      store.accept({ id, ownerId: 'ada', result: resultOf(id), form: undefined }, { key: { key: 'k', request } });
      expect(store.byKey('ada', 'k')).toEqual({ id, request });
    }
  });
});

describe('retention', () => {
  test('by age: over at once, removed by the sweeper, what runs is never removed', async () => {
    const store = openStore({ ttlMs: 200 });
    const running = accept(store);
    const id = finish(store);
    expect(store.read(id)).toBeDefined();
    await sleep(250);
    expect(store.read(id)).toBeUndefined();
    // Who promised to tell of it still can.
    expect(store.read(id, 'however old')?.state).toBe('done');
    expect(store.has(id)).toBe(true);
    expect(store.removeDue(10)).toEqual({ withFiles: [], isMoreDue: false });
    expect(store.has(id)).toBe(false);
    expect(store.has(running)).toBe(true);
    expect([store.size, store.bytes]).toEqual([0, 0]);
  });

  test('by count and by bytes: the oldest go first, the newest never', () => {
    const store = openStore({ countMax: 3 });
    const ids = [1, 2, 3, 4, 5].map((n) => {
      const id = accept(store);
      store.finish(id, finishedResult(id, new Date(Date.now() - 10_000 + n)), eventsThatPrint(id, 'x'));
      return id;
    });
    store.removeDue(100);
    expect(ids.map((id) => store.has(id))).toEqual([false, false, true, true, true]);

    const small = openStore({ bytesMax: 1 });
    small.removeDue(100);
    expect(ids.map((id) => small.has(id))).toEqual([false, false, false, false, true]);
  });

  test('a bounded number at a time, and whether there is more', () => {
    const store = openStore({ countMax: 1 });
    for (let n = 0; n < 7; n += 1) finish(store);
    expect(store.removeDue(4).isMoreDue).toBe(true);
    expect(store.size).toBe(3);
    expect(store.removeDue(4).isMoreDue).toBe(false);
    expect(store.size).toBe(1);
  });

  test('takes the files of an execution with it, counts them, and removes strays', async () => {
    const store = openStore({ ttlMs: 50 });
    const withFile = (id: string) => {
      mkdirSync(state.executionDirectory(id));
      writeFileSync(join(state.executionDirectory(id), 'events.ndjson'), Buffer.alloc(10_000));
    };
    const id = accept(store);
    withFile(id);
    store.finish(id, finishedResult(id), { lastSeq: 1, bytes: 10_000 });
    expect(store.bytes).toBeGreaterThan(10_000);
    const running = accept(store);
    withFile(running);
    withFile('exe_stray');
    await sleep(60);
    const errors: unknown[] = [];
    const sweeper = new Sweeper({
      directory: state,
      store,
      reserves: [],
      intervalMs: 1000,
      onError: (error) => errors.push(error),
    });
    await sweeper.sweep();
    await sweeper.removeStrays();
    await sweeper.stop();
    expect(errors).toEqual([]);
    const isThere = (name: string) => statSync(state.executionDirectory(name), { throwIfNoEntry: false }) !== undefined;
    expect([isThere(id), isThere('exe_stray'), isThere(running)]).toEqual([false, false, true]);
  });
});

/** Of a write-ahead log, whose frames carry the salt of its header until they are overwritten (sqlite.org/walformat). */
function usedBytesOf(path: string): number {
  const log = readFileSync(path);
  const salt = log.subarray(16, 24);
  const frameBytes = 24 + log.readUInt32BE(8);
  let end = 32;
  while (end + frameBytes <= log.length && log.subarray(end + 8, end + 16).equals(salt)) end += frameBytes;
  return end;
}

describe('F20: a log that was torn', () => {
  test('anywhere: what was whole before is there, and opening never fails', () => {
    const store = openStore();
    const wal = join(path, 'state.sqlite-wal');
    const sizes: number[] = [];
    const ids = [1, 2, 3].map(() => {
      const id = finish(store);
      sizes.push(usedBytesOf(wal));
      return id;
    });
    const total = usedBytesOf(wal);
    const copy = mkdtempSync(join(tmpdir(), 'pyexec-torn-'));
    try {
      for (let length = 0; length <= total; length += 1009) {
        copyFileSync(join(path, 'state.sqlite'), join(copy, 'state.sqlite'));
        copyFileSync(wal, join(copy, 'state.sqlite-wal'));
        rmSync(join(copy, 'state.sqlite-shm'), { force: true });
        truncateSync(join(copy, 'state.sqlite-wal'), length);
        const torn = StateDirectory.open(copy);
        const again = new ExecutionStore(torn, ROOMY);
        for (const [index, id] of ids.entries()) {
          if (length >= (sizes[index] ?? 0)) expect(again.read(id)?.state, String(length)).toBe('done');
        }
        again.close();
        torn.close();
        rmSync(join(copy, 'state.sqlite-wal'), { force: true });
      }
    } finally {
      rmSync(copy, { recursive: true });
    }
  });
});

describe('a database that cannot be used', () => {
  test('that is damaged is refused when it is opened, and left as it is', () => {
    writeFileSync(join(path, 'state.sqlite'), Buffer.alloc(8192, 'no database'));
    const before = readFileSync(join(path, 'state.sqlite'));
    expect(() => openStore()).toThrow(/state\.sqlite is damaged; .*move it away/);
    expect(readFileSync(join(path, 'state.sqlite')).equals(before)).toBe(true);
  });

  test('of a later version is refused', () => {
    openStore().close();
    const database = new DatabaseSync(join(path, 'state.sqlite'));
    database.exec('PRAGMA user_version = 99');
    database.close();
    expect(() => openStore()).toThrow('later version');
  });

  test('whose log is taken away meanwhile: what was recorded before and after is there for the next process', () => {
    const store = openStore();
    const before = finish(store);
    rmSync(join(path, 'state.sqlite-wal'));
    const after = finish(store);
    // As a kill leaves it: what a connection that is open still holds is of no use to anybody.
    const crashed = join(path, 'crashed');
    mkdirSync(crashed);
    for (const name of ['state.sqlite', 'state.sqlite-wal']) copyFileSync(join(path, name), join(crashed, name));
    const next = StateDirectory.open(crashed);
    const recovered = new ExecutionStore(next, ROOMY);
    expect([before, after].map((id) => recovered.read(id)?.state)).toEqual(['done', 'done']);
    recovered.close();
    next.close();
  });

  test('that is emptied meanwhile is not begun anew: that is the decision of the operator', () => {
    const store = openStore();
    finish(store);
    store.close();
    truncateSync(join(path, 'state.sqlite'));
    for (let turn = 0; turn < 3; turn += 1) {
      expect(() => accept(store)).toThrow(expect.objectContaining({ code: 'storage_unavailable' }));
    }
    expect(statSync(join(path, 'state.sqlite')).size).toBe(0);
  });

  test.each([
    ['a directory', (file: string) => mkdirSync(file)],
    ['a link to nowhere', (file: string) => symlinkSync(join(path, 'nowhere', 'file'), file)],
  ])('that is %s is named', (_, replace) => {
    replace(join(path, 'state.sqlite'));
    expect(() => openStore()).toThrow(
      expect.objectContaining({
        name: 'StateDirectoryError',
        message: expect.stringContaining('state.sqlite cannot be opened') as unknown,
      }),
    );
  });

  test('that breaks meanwhile is said, and used again when it is whole', () => {
    const store = openStore();
    const id = finish(store);
    const copy = join(path, 'copy');
    store.close();
    copyFileSync(join(path, 'state.sqlite'), copy);
    writeFileSync(join(path, 'state.sqlite'), Buffer.alloc(8192, 'no database'));
    for (const call of [
      () => store.read(id),
      () => accept(store),
      () => {
        store.probe();
      },
    ]) {
      expect(call).toThrow(expect.objectContaining({ code: 'storage_unavailable' }));
    }
    copyFileSync(copy, join(path, 'state.sqlite'));
    expect(store.read(id)?.state).toBe('done');
    accept(store);
  });
});

const canMount = process.getuid?.() === 0;

describe.skipIf(!canMount)('F17, F19: a real file system', () => {
  let small: string;
  let smallState: StateDirectory;
  const mount = (...args: string[]) => {
    const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
  };
  beforeEach(() => {
    small = join(path, 'small');
    mkdirSync(small);
    mount('-t', 'tmpfs', '-o', 'size=12m,mode=0700', 'tmpfs', small);
    smallState = StateDirectory.open(small);
  });
  afterEach(() => {
    for (const store of opened.splice(0)) store.close();
    smallState.close();
    spawnSync('umount', ['-l', small]);
  });
  const openSmall = () => {
    const store = new ExecutionStore(smallState, ROOMY);
    opened.push(store);
    return store;
  };
  /** Takes what is left of the disk, to the last byte. */
  const fillDisk = () => {
    spawnSync('dd', ['if=/dev/zero', `of=${join(small, 'filler')}`, 'bs=4k'], { stdio: 'ignore' });
  };

  test('that is full: nothing is accepted, what was accepted ends, and space brings it back', () => {
    const store = openSmall();
    const before = finish(store);
    const underWay = Array.from({ length: 20 }, () => accept(store));
    fillDisk();
    // What the log has room for it still takes; then it says so.
    const acceptAll = () => {
      for (let turn = 0; turn < 5000; turn += 1) underWay.push(accept(store));
    };
    expect(acceptAll).toThrow(expect.objectContaining({ code: 'storage_full', status: 507 }));
    expect(() => {
      for (let turn = 0; turn < 100; turn += 1) store.probe();
    }).toThrow(expect.objectContaining({ code: 'storage_full' }));
    for (const id of underWay.slice(0, 50)) store.finish(id, finishedResult(id), eventsThatPrint(id, 'x'.repeat(2000)));
    for (const id of [before, ...underWay.slice(0, 50)]) expect(store.read(id)?.state).toBe('done');
    rmSync(join(small, 'filler'));
    expect(store.read(accept(store))?.state).toBe('accepted');
    store.probe();
  });

  test('that is full of executions that are over: they can be removed', async () => {
    const store = new ExecutionStore(smallState, { ...ROOMY, ttlMs: 1 });
    opened.push(store);
    for (let n = 0; n < 300; n += 1) finish(store);
    fillDisk();
    await sleep(5);
    while (store.removeDue(64).isMoreDue);
    expect(store.size).toBe(0);
    accept(store);
  });

  test('that is remounted read-only: nothing is accepted, what is there is read, and writing comes back', () => {
    const store = openSmall();
    const id = finish(store);
    // A file open for writing keeps the file system from becoming read-only.
    store.close();
    smallState.close();
    mount('-o', 'remount,ro', small);
    expect(() => accept(store)).toThrow(expect.objectContaining({ code: 'storage_unavailable', status: 503 }));
    expect(() => {
      store.probe();
    }).toThrow(expect.objectContaining({ code: 'storage_unavailable' }));
    mount('-o', 'remount,rw', small);
    expect(store.read(id)?.state).toBe('done');
    accept(store);
  });
});

describe('100,000 executions', () => {
  test('every statement finds its rows by an index', () => {
    openStore().close();
    const database = new DatabaseSync(join(path, 'state.sqlite'));
    for (const [name, sql] of Object.entries(SQL)) {
      const plan = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[];
      for (const { detail } of plan) {
        expect(detail, name).not.toMatch(/^SCAN (?!.*USING (COVERING )?INDEX)|TEMP B-TREE/);
      }
    }
    database.close();
  });

  test('take no memory', () => {
    openStore().close();
    /** Resident memory of a process that opens the store and uses it. */
    const memoryOf = (count: number) => {
      const first = count > 0 ? fillStore(join(path, 'state.sqlite'), count) : '';
      const program = `
        import { ExecutionStore } from ${JSON.stringify(new URL('../../../src/store/execution-store.ts', import.meta.url).href)};
        const state = { path: process.argv[1], executionDirectory: (id) => process.argv[1] + '/executions/' + id };
        const store = new ExecutionStore(state, { ttlMs: 1e9, bytesMax: 1e12, countMax: 1e9 });
        for (let n = 0; n < 1000; n += 1) store.read(process.argv[2]);
        gc();
        console.log(JSON.stringify({ size: store.size, rss: process.memoryUsage.rss() }));`;
      const { stdout, stderr } = spawnSync(
        process.execPath,
        ['--expose-gc', '--input-type=module-typescript', '-e', program, path, first],
        { encoding: 'utf8' },
      );
      expect(stderr).toBe('');
      return JSON.parse(stdout) as { size: number; rss: number };
    };
    const few = memoryOf(10);
    const many = memoryOf(99_990);
    expect([few.size, many.size]).toEqual([10, 100_000]);
    expect(many.rss - few.rss).toBeLessThan(16 * 2 ** 20);
  });
});

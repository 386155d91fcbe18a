/**
 * F35: the real server under strace while clients are answered; then, for the moment of each answer, the disk that a
 * loss of power at that moment would have left. Everything that was answered is there, with the same end.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { random } from '../../../chaos/random.ts';
import { Receiver } from '../../../chaos/crash-receiver.ts';
import { START } from '../../../src/audit/audit-chain.ts';
import { verifyChain } from '../../../src/audit/verify-chain.ts';
import type { Execution } from '../../../src/domain/execution.ts';
import { ArtifactShelf } from '../../../src/execution/artifact-shelf.ts';
import { RecordedExecution } from '../../../src/execution/recorded-execution.ts';
import { recover } from '../../../src/execution/recovery.ts';
import { ArtifactFiles } from '../../../src/store/artifact-files.ts';
import { AuditHead } from '../../../src/store/audit-head.ts';
import { ExecutionStore } from '../../../src/store/execution-store.ts';
import { StateDirectory } from '../../../src/store/state-directory.ts';
import { WebhookTable } from '../../../src/store/webhook-table.ts';
import { until, untilGone } from '../../support/docker-containers.ts';
import { LostPower, type Keeping } from '../../support/lost-power.ts';
import { formOf, metadataPart, tarPart } from '../../support/python-executor-client.ts';
import { plainTar } from '../../support/python-executor-tars.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { descriptorOf, momentsOf, straceCommand, stringsOf, type Call } from '../../support/traced-calls.ts';

const hasStrace = spawnSync('strace', ['-V']).status === 0;

/** What an answer told of an execution. */
interface Told {
  /** The request it answered, or the execution whose stream of events told its end. */
  readonly mark: string;
  readonly kind: string;
  readonly id: string;
  readonly key?: string;
  /** What was asked for under the key. */
  readonly document?: object;
  readonly hasWebhook?: boolean;
  /** How it ended, where that was told. */
  readonly end?: Readonly<Record<string, unknown>>;
  /** Content of its artifacts, where that was fetched, by path. */
  readonly files?: ReadonlyMap<string, string>;
}

/** The hash of every file below a directory, but of shared memory, by its path. */
function filesOf(path: string): Readonly<Record<string, string>> {
  const entries = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const files = entries.map(({ parentPath, name }) => join(parentPath, name)).filter((file) => !isVolatile(file));
  return Object.fromEntries(files.map((file) => [file.slice(path.length), sha256(readFileSync(file))]));
}

/** SQLite makes it anew. */
const isVolatile = (path: string) => path.endsWith('-shm');

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

const directory = mkdtempSync(join(tmpdir(), 'pyexec-lost-power-'));
/** What the power takes: the state directory is made on it by the server. */
const onDisk = join(directory, 'disk');
const stateDirectory = join(onDisk, 'state');
const told: Told[] = [];
let receiver: Receiver;

/** What a client does, and writes down of what it is answered. */
class Client {
  readonly #url: string;
  #count = 0;

  constructor(url: string) {
    this.#url = url;
  }

  async #fetch(path: string, init: RequestInit = {}): Promise<{ mark: string; response: Response }> {
    this.#count += 1;
    const mark = `asked-${String(this.#count)}-`;
    const headers = { ...(init.headers as Record<string, string> | undefined), 'x-request-id': mark };
    const response = await fetch(this.#url + path, { ...init, headers, signal: AbortSignal.timeout(60_000) });
    if (!response.ok) throw new Error(`${path}: ${String(response.status)} ${await response.text()}`);
    return { mark, response };
  }

  #post(path: string, document: unknown, headers: Record<string, string> = {}) {
    const body = JSON.stringify(document);
    return this.#fetch(path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body });
  }

  /** One JSON document at the end. */
  async run(kind: string, document: object, key?: string): Promise<Execution> {
    const headers = key === undefined ? {} : { 'idempotency-key': key };
    const { mark, response } = await this.#post('/api/v1/exec', document, headers);
    const end = (await response.json()) as Execution;
    const hasWebhook = 'webhook' in document;
    told.push({
      mark,
      kind,
      id: end.execution_id,
      end: { ...end },
      hasWebhook,
      ...(key === undefined ? {} : { key, document }),
    });
    return end;
  }

  /** The same through a route of python-executor. */
  async evaluate(code: string): Promise<void> {
    const { mark, response } = await this.#post('/api/v1/eval', { code });
    const { execution_id: id, stdout, exit_code } = (await response.json()) as Execution;
    told.push({ mark, kind: 'eval', id, end: { stdout, exit_code } });
  }

  async form(route: 'sync' | 'async', code: string): Promise<string> {
    const form = formOf(tarPart(plainTar({ 'main.py': code })), metadataPart({ entrypoint: 'main.py' }));
    const init = { method: 'POST', headers: { 'content-type': form.contentType }, body: form.body };
    const { mark, response } = await this.#fetch(`/api/v1/exec/${route}`, init);
    const { execution_id: id, stdout } = (await response.json()) as Execution;
    told.push({ mark, kind: `exec/${route}`, id, ...(route === 'sync' ? { end: { stdout } } : {}) });
    return id;
  }

  async submit(kind: string, document: object, key?: string): Promise<string> {
    const headers = { prefer: 'respond-async', ...(key === undefined ? {} : { 'idempotency-key': key }) };
    const { mark, response } = await this.#post('/api/v1/exec', document, headers);
    const { execution_id: id } = (await response.json()) as Execution;
    told.push({ mark, kind, id, hasWebhook: 'webhook' in document, ...(key === undefined ? {} : { key, document }) });
    return id;
  }

  async stream(kind: string, document: object): Promise<void> {
    const { mark, response } = await this.#post('/api/v1/exec', document, { accept: 'application/x-ndjson' });
    const id = response.headers.get('x-execution-id') ?? '';
    told.push({ mark, kind: `${kind}, begun`, id });
    const lines = (await response.text()).trimEnd().split('\n');
    const events = lines.map((line) => JSON.parse(line) as { type: string; data?: string } & Execution);
    const stdout = events.map(({ type, data = '' }) => (type === 'stdout' ? data : '')).join('');
    const outcome = events.at(-1)?.outcome;
    told.push({ mark: id, kind: `${kind}, ended`, id, end: { stdout, ...(outcome && { outcome }) } });
  }

  /** An execution as it stands; its end, where it has one, is told by that. */
  async look(id: string): Promise<Execution> {
    const { mark, response } = await this.#fetch(`/api/v1/executions/${id}`);
    const seen = (await response.json()) as Execution;
    if (seen.outcome) told.push({ mark, kind: 'fetched end', id, end: { ...seen } });
    else if (!told.some((each) => each.id === id && each.kind === 'fetched')) told.push({ mark, kind: 'fetched', id });
    return seen;
  }

  async ended(id: string): Promise<void> {
    await until('it has ended', async () => (await this.look(id)).outcome !== undefined);
  }

  async cancel(id: string): Promise<void> {
    const { mark } = await this.#fetch(`/api/v1/executions/${id}`, { method: 'DELETE' });
    told.push({ mark, kind: 'cancelled', id });
    await this.ended(id);
  }

  async artifacts({ execution_id: id, artifacts = [] }: Execution): Promise<void> {
    const files = new Map<string, string>();
    let mark = '';
    for (const { path } of artifacts) {
      const fetched = await this.#fetch(`/api/v1/executions/${id}/artifacts/${path}`);
      mark = fetched.mark;
      files.set(path, sha256(new Uint8Array(await fetched.response.arrayBuffer())));
    }
    told.push({ mark, kind: 'artifacts', id, files });
  }
}

const SLEEPS = 'import time; print("begun", flush=True); time.sleep(300)';
const SMALL_FILES = 'open("a", "w").write("a" * 10); open("b", "w").write("b" * 10000); print("files")';
const LARGE_FILES = `import random
random.seed(1)
open("large", "wb").write(random.randbytes(300_000))
print("large")`;
const LARGE_OUTPUT = 'for n in range(5000): print(n, "x" * 50)';

async function work(url: string): Promise<void> {
  const client = new Client(url);
  const { webhook } = receiver;
  const small = (n: number) => ({ code: `print("small", ${String(n)})` });
  // First: with the first files of an execution that there are.
  await client.artifacts(await client.run('document with files', { code: SMALL_FILES }));
  await client.run('document', small(1));
  await client.submit('submitted', small(2));
  await client.run('document of a key', small(3), 'key-3');
  await client.run('document of a key', small(3), 'key-3');
  const keyed = await client.submit('submitted with a key', small(4), 'key-4');
  await client.ended(keyed);
  await client.submit('submitted with a key', small(4), 'key-4');
  await client.submit('with a webhook', { ...small(5), webhook });
  await client.run('with a webhook', { ...small(6), webhook });
  await client.stream('stream', small(7));
  await client.stream('large stream', { code: LARGE_OUTPUT });
  await client.run('large document', { code: LARGE_OUTPUT });
  const sleeping = await client.submit('submitted', { code: SLEEPS, webhook });
  await until('it runs', async () => (await client.look(sleeping)).stdout === 'begun\n');
  await client.cancel(sleeping);
  await client.artifacts(await client.run('document with large files', { code: LARGE_FILES }));
  await client.evaluate('print("evaluated")');
  await client.form('sync', 'print("sync")');
  await client.ended(await client.form('async', 'print("async")'));
  await client.run('failing document', { code: 'raise SystemExit(3)' });
  // Known from elsewhere before its answer: then that is answered, and has to be true.
  const unanswered = client.run('document', { code: 'import time; print("late"); time.sleep(2)' });
  let id: string | undefined;
  await until('the log has it', () => {
    id = readdirSync(join(stateDirectory, 'audit'))
      .filter((name) => name.endsWith('.jsonl'))
      .flatMap((name) =>
        readFileSync(join(stateDirectory, 'audit', name), 'utf8')
          .trimEnd()
          .split('\n'),
      )
      .map((line) => JSON.parse(line) as { kind: string; execution_id?: string })
      .findLast(({ kind }) => kind === 'accepted')?.execution_id;
    return id !== undefined && !told.some((each) => each.id === id);
  });
  await until('it is there', () =>
    client.look(id ?? '').then(
      () => true,
      () => false,
    ),
  );
  await unanswered;
  // All at once.
  await Promise.all([
    ...[1, 2, 3].map((n) => client.run('document beside others', small(10 + n))),
    ...[4, 5].map((n) => client.stream('stream', small(10 + n))),
    ...[6, 7].map(async (n) => client.ended(await client.submit('submitted', small(10 + n), `key-${String(10 + n)}`))),
    client.run('document with files', { code: SMALL_FILES }).then((end) => client.artifacts(end)),
  ]);
  // Left as they are when the power goes.
  await client.submit('submitted with a key', { code: SLEEPS }, 'key-sleeping');
}

interface Cut {
  /** What was told until then. */
  readonly told: readonly Told[];
  readonly disk: LostPower;
}

/** What an answer is found by among the bytes a call sends. */
function marksIn(call: Call): string[] {
  if (!call.name.startsWith('write') || !/^(?:socket|TCP)/.test(descriptorOf(call).path)) return [];
  const sent = Buffer.concat(stringsOf(call)).toString('latin1');
  return [
    ...[...sent.matchAll(/x-request-id: (asked-\d+-)/gi)].map(([, mark = '']) => mark),
    ...[...sent.matchAll(/"type":"(?:result|error)"[^\n]*?"execution_id":"([^"]+)"/g)].map(([, id = '']) => id),
  ];
}

/** Stops at each answer, just before its first byte leaves. */
function* cuts(trace: string): Generator<Cut, void, void> {
  const disk = new LostPower(onDisk, isVolatile);
  const soFar: Told[] = [];
  const left = new Map(Map.groupBy(told, ({ mark }) => mark));
  for (const moment of momentsOf(trace)) {
    if (moment.at === 'began') {
      for (const mark of marksIn(moment.call)) {
        const now = left.get(mark);
        if (!now) continue;
        left.delete(mark);
        soFar.push(...now);
        yield { told: [...soFar], disk };
      }
    }
    disk.take(moment);
  }
  expect([...left.keys()], 'answers that are not in the trace').toEqual([]);
}

/** Reads what the next server would find, by the parts it would use. */
async function foundWrong(path: string, { told: all }: Cut): Promise<readonly string[]> {
  const wrong: string[] = [];
  const state = StateDirectory.open(path);
  const store = new ExecutionStore(state, { ttlMs: 1e9, bytesMax: 1e12, countMax: 1e9 });
  const webhooks = new WebhookTable(path);
  const head = AuditHead.open(join(path, 'audit'), START, false);
  const directoryOf = (id: string) => state.executionDirectory(id);
  const shelf = new ArtifactShelf(new ArtifactFiles(directoryOf));
  try {
    const known = { store, directoryOf, active: new Map() };
    await recover(known);
    if ((await recover(known)).length > 0) wrong.push('recovered twice');
    const verdict = verifyChain(join(path, 'audit'), { head: head.read() });
    if (!verdict.ok) wrong.push(`audit log: ${verdict.detail}`);
    const audited = new Set(
      readdirSync(join(path, 'audit'))
        .filter((name) => name.endsWith('.jsonl'))
        .flatMap((name) => readFileSync(join(path, 'audit', name), 'utf8').split('\n'))
        .flatMap((line) => /"kind":"accepted","execution_id":"([^"]+)"/.exec(line)?.[1] ?? []),
    );
    for (const { id, kind, key, end, files, hasWebhook = false } of all) {
      const say = (what: string) => wrong.push(`${kind} ${id}: ${what}`);
      const stored = store.read(id);
      if (!stored) {
        say('not there');
        continue;
      }
      if (!audited.has(id)) say('not in the audit log');
      if (key !== undefined && store.byKey(stored.ownerId, key)?.id !== id) say('its key is not known');
      if (
        hasWebhook &&
        !['waiting', 'due'].some((each) =>
          webhooks.inState(each as 'due', 1000).some(({ executionId }) => executionId === id),
        )
      )
        say('its webhook is not there');
      const recorded = new RecordedExecution(stored, directoryOf(id));
      const now = await recorded.snapshot().catch((error: unknown) => say(`cannot be read: ${String(error)}`));
      if (typeof now !== 'object') continue;
      for (const [name, value] of Object.entries(end ?? {})) {
        // Of events and of python-executor's routes the fields are fewer.
        const has = (now as unknown as Record<string, unknown>)[name];
        if (JSON.stringify(has) !== JSON.stringify(value)) say(`${name} was ${brief(value)} and is ${brief(has)}`);
      }
      for (const { path: name, sha256: hash } of end === undefined && !files ? [] : (now.artifacts ?? [])) {
        const content = shelf.file(now, name);
        const bytes = await content.read(0, content.bytes).then(buffer, () => undefined);
        if (bytes === undefined) say(`${name} is gone`);
        else if (sha256(bytes) !== hash) say(`${name} has another content`);
      }
      for (const [name, hash] of files ?? []) {
        if (now.artifacts?.find((each) => each.path === name)?.sha256 !== hash) say(`${name} is another file`);
      }
    }
  } finally {
    head.close();
    webhooks.close();
    store.close();
    state.close();
  }
  return wrong;
}

async function expectAnswered(service: ServiceProcess, told: Told, name: string): Promise<void> {
  const { id, kind, key, document, end, files } = told;
  const what = `${name}: ${kind} ${id}`;
  const now = (await (await service.get(`/api/v1/executions/${id}`)).json()) as Execution;
  expect(now.outcome, what).toBeDefined();
  // In the form of its door an execution has fewer fields.
  for (const [field, value] of Object.entries(end ?? {}))
    if (field in now) expect(now, what).toHaveProperty([field], value);
  for (const [path, hash] of files ?? []) {
    const response = await service.get(`/api/v1/executions/${id}/artifacts/${path}`);
    expect(sha256(new Uint8Array(await response.arrayBuffer())), what).toBe(hash);
  }
  if (key === undefined || now.outcome?.kind === 'interrupted') return;
  const again = await fetch(`${service.url}/api/v1/exec`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify(document),
  });
  expect(await again.json(), what).toMatchObject({ execution_id: id });
}

const brief = (value: unknown) => (JSON.stringify(value) as string | undefined)?.slice(0, 80) ?? 'absent';

describe.skipIf(!hasStrace)('F35: the power is lost', () => {
  let trace = '';
  const settings = () => ({
    PYEXEC_AUDIT: 'required',
    PYEXEC_MAX_CONCURRENT: '4',
    PYEXEC_POOL_SIZE: '2',
    ...receiver.settings,
  });
  beforeAll(async () => {
    receiver = await Receiver.start(() => 0);
    mkdirSync(onDisk);
    const file = join(directory, 'trace');
    const service = await ServiceProcess.start(
      { ...settings(), PYEXEC_STATE_DIR: stateDirectory },
      straceCommand(file, []),
    );
    try {
      await work(service.url);
    } finally {
      const children = readFileSync(`/proc/${String(service.pid)}/task/${String(service.pid)}/children`, 'utf8');
      process.kill(Number(children.trim().split(' ')[0]), 'SIGKILL');
      await service.ended;
    }
    trace = readFileSync(file, 'latin1');
    await (await ServiceProcess.start({ PYEXEC_INSTANCE: service.instance }))[Symbol.asyncDispose]();
    await untilGone(service.instance);
  }, 120_000);
  afterAll(async () => {
    await receiver.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Looks at what is left at each cut: what is wrong, and where that was so first. */
  async function judged(keepingAt: (cut: number) => Keeping): Promise<readonly string[]> {
    const wrong = new Map<string, string>();
    let count = 0;
    for (const cut of cuts(trace)) {
      count += 1;
      const path = join(directory, `cut-${String(count)}`);
      cut.disk.rebuild(path, keepingAt(count));
      for (const what of await foundWrong(join(path, 'state'), cut)) {
        if (!wrong.has(what)) wrong.set(what, `${what} (cut ${String(count)}, ${cut.told.at(-1)?.kind ?? ''})`);
      }
      rmSync(path, { recursive: true });
    }
    expect(count).toBeGreaterThan(40);
    return [...wrong.values()];
  }

  test('the disk is understood: with everything that was written it is the one there is', () => {
    const disk = new LostPower(onDisk, isVolatile);
    for (const moment of momentsOf(trace)) disk.take(moment);
    const path = join(directory, 'everything');
    disk.rebuild(path, 'everything');
    expect(filesOf(path)).toEqual(filesOf(onDisk));
    rmSync(path, { recursive: true });
  });

  test('what was answered is there, when nothing is that was not synced', async () => {
    expect(await judged(() => 'synced')).toEqual([]);
  });

  test('… and when any part of what was not synced is', async () => {
    const seed = Date.now() % 1_000_000;
    const keepingAt = (cut: number): Keeping => {
      const next = random(seed + cut);
      return (versions) => Math.floor(next() * versions);
    };
    expect(await judged(keepingAt), `seed ${String(seed)}`).toEqual([]);
  });

  test('the next server starts on it and answers as the one before', async () => {
    const seed = Date.now() % 1_000_000;
    const seen = new Set<string>();
    for (const cut of cuts(trace)) {
      // One for each kind of answer.
      const kind = cut.told.at(-1)?.kind ?? '';
      if (seen.has(kind)) continue;
      seen.add(kind);
      const next = random(seed + seen.size);
      const path = join(directory, `started-${String(seen.size)}`);
      cut.disk.rebuild(path, seen.size % 2 === 0 ? 'synced' : (versions) => Math.floor(next() * versions));
      receiver.told.clear();
      const name = `at ${kind}, seed ${String(seed)}`;
      {
        await using service = await ServiceProcess.start({ ...settings(), PYEXEC_STATE_DIR: join(path, 'state') });
        for (const each of cut.told) await expectAnswered(service, each, name);
        const awaited = new Set(cut.told.filter(({ hasWebhook = false }) => hasWebhook).map(({ id }) => id));
        await until(`${name}: webhooks come`, () => [...awaited].every((id) => receiver.told.has(id)));
      }
      // Nothing was changed by that; the webhooks are on their way.
      const told = cut.told.map((each) => ({ ...each, hasWebhook: false }));
      expect(await foundWrong(join(path, 'state'), { ...cut, told }), name).toEqual([]);
      rmSync(path, { recursive: true });
    }
    expect(seen.size).toBeGreaterThan(12);
  }, 120_000);
});

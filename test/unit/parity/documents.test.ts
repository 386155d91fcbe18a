/** What documents and tables say of the same thing is the same. */
import { readdirSync, readFileSync, existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DOCUMENTS } from '../../../scripts/generate-docs.mjs';
import { SETTINGS } from '../../../src/config/config.ts';
import { ERRORS, isErrorCode } from '../../../src/domain/errors.ts';
import { FRAME } from '../../../src/sandbox/supervisor/protocol.ts';

const root = new URL('../../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

/** The rows of a document's tables whose first cell is in backticks: that cell, then the others. */
function rowsOf(path: string): string[][] {
  return read(path)
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}
const unquoted = (cell: string | undefined) => (cell ?? '').replaceAll('`', '');

describe('generated documents', () => {
  test.each(DOCUMENTS)('$path is what `npm run docs` writes', ({ path, text }) => {
    expect(read(path)).toBe(text());
  });
});

describe('docs/ERRORS.md', () => {
  const rows = rowsOf('docs/ERRORS.md');

  test('has every code and no other, each once', () => {
    expect(rows.map(([code]) => unquoted(code))).toEqual(Object.keys(ERRORS));
  });

  test.each(rows)('%s says what the table says, and what to do', (code, status, title, retryable, advice) => {
    const name = unquoted(code);
    if (!isErrorCode(name)) throw new Error(`${name} is not a code`);
    const entry = ERRORS[name];
    expect([status, title, retryable]).toEqual([String(entry.status), entry.title, entry.retryable ? 'yes' : 'no']);
    expect(advice?.length).toBeGreaterThan(20);
  });
});

describe('docs/CONFIGURATION.md', () => {
  const rows = rowsOf('docs/CONFIGURATION.md');

  test('has every setting and no other, each once', () => {
    expect(rows.map(([name]) => unquoted(name))).toEqual(Object.keys(SETTINGS));
  });

  test('says nothing of the machine it was written on', () => {
    expect(read('docs/CONFIGURATION.md')).not.toContain(decodeURIComponent(root.pathname));
  });

  test('every setting of a number says its bounds', () => {
    for (const [name, , values] of rows) {
      const { schema } = SETTINGS[unquoted(name) as keyof typeof SETTINGS];
      const isNumber = schema.safeParse('x').error?.issues[0]?.message.endsWith('number') ?? false;
      if (isNumber) expect(values, name).toMatch(/^[\d.]+ to [\d.]+$/);
    }
  });
});

test('every setting that documents and compose files name is one', () => {
  const known = new Set([...Object.keys(SETTINGS), 'PYEXEC_SERVER']);
  const documents = readdirSync(new URL('docs/', root))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`);
  const more = ['README.md', 'docker-compose.yml', 'Dockerfile', 'CONTRIBUTING.md'];
  for (const path of [...documents, ...more].filter((name) => existsSync(new URL(name, root)))) {
    for (const [name] of read(path).matchAll(/PYEXEC_[A-Z_]*[A-Z]\b/g)) expect(known, path).toContain(name);
  }
});

describe('docs/ARCHITECTURE.md', () => {
  const named = [...read('docs/ARCHITECTURE.md').matchAll(/^\| `(src\/[^`]+)`/gm)].map(([, path]) => path ?? '');

  test('names every folder of src that has something in it', () => {
    const folders = readdirSync(new URL('src/', root), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `src/${name}/`)
      .filter((folder) => readdirSync(new URL(folder, root)).length > 0);
    expect(named).toEqual(expect.arrayContaining(folders));
  });

  test('names nothing that is not there', () => {
    expect(named.filter((path) => !existsSync(new URL(path, root)))).toEqual([]);
  });
});

test('docs/SUPERVISOR.md has every frame type and no other', () => {
  const [, table = ''] = /## Frames([\s\S]*?)\n## /.exec(read('docs/SUPERVISOR.md')) ?? [];
  const rows = table.split('\n').filter((line) => line.startsWith('| `'));
  const documented = rows.flatMap((line) =>
    [...(line.split('|')[1] ?? '').matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name),
  );
  expect(documented.toSorted()).toEqual(Object.keys(FRAME).toSorted());
});

test('frame types differ, and fit into their byte', () => {
  const numbers = Object.values(FRAME);
  expect(new Set(numbers).size).toBe(numbers.length);
  for (const number of numbers) expect(number >= 0 && number <= 255).toBe(true);
});

test('every code that counts as a security refusal is a code', () => {
  const [, set = ''] = /SECURITY_CODES[^[]*\[([^\]]*)\]/.exec(read('src/telemetry/metrics.ts')) ?? [];
  const codes = [...set.matchAll(/'([^']+)'/g)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(5);
  for (const code of codes) expect(isErrorCode(code), code).toBe(true);
});

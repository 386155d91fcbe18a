/**
 * docs/COMPATIBILITY.md against the tests and the settings, in both directions.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseConfig, SETTINGS } from '../../../../src/config/config.ts';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const DOCUMENT = readFileSync(`${ROOT}docs/COMPATIBILITY.md`, 'utf8');

/** The rows of the table below a heading, a list of cells each. */
function rowsOf(heading: string): string[][] {
  const section = DOCUMENT.split(/^## /m).find((text) => text.startsWith(heading)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .filter(([first]) => first !== '' && first !== 'Variable');
}

const TEST_NAME = /difference: ((?:\\.|[^\\])*?)(?=(['"]), ?(?:async )?\(|(['"]),)/g;

function namedByTests(): Set<string> {
  const names = new Set<string>();
  for (const folder of ['test/unit/doors', 'test/unit/dependencies', 'test/integration/python-executor']) {
    for (const file of readdirSync(ROOT + folder, { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.test.ts') || file.endsWith('compatibility-document.test.ts')) continue;
      for (const [, name = ''] of readFileSync(`${ROOT}${folder}/${file}`, 'utf8').matchAll(TEST_NAME)) names.add(name);
    }
  }
  return names;
}

describe('what is different, on purpose', () => {
  const rows = rowsOf('What is different').map(([first = '']) => first);

  it('is a list of differences', () => {
    expect(rows.length).toBeGreaterThan(30);
    expect(new Set(rows).size).toBe(rows.length);
  });

  it.each(rows)('a test carries the name of: %s', (row) => {
    const names = namedByTests();
    expect([...names]).toContain(row);
  });

  it.each([...namedByTests()])('a row has the name of the test: %s', (name) => {
    expect(rows).toContain(name);
  });
});

describe('the variables', () => {
  const rows = rowsOf('Variables');
  const names = rows.map(([name = '']) => name.replaceAll('`', ''));

  it('are those python-executor has', () => {
    expect(names.sort()).toEqual(
      `AUTO_DETECT_IMPORTS CLEANUP_TTL CONSUL_ADDR CONSUL_PREFIX CONSUL_TOKEN DEFAULT_CPU_SHARES DEFAULT_DISK_MB
      DEFAULT_IMAGE DEFAULT_MEMORY_MB DEFAULT_TIMEOUT DNS_SERVERS DOCKER_SOCKET HOST LOG_LEVEL NETWORK_MODE PORT SERVER`
        .split(/\s+/)
        .map((name) => `PYEXEC_${name}`),
    );
  });

  it.each(rows)('%s: there %s, here %s', (name, there, here = '', why = '') => {
    const setting = name.replaceAll('`', '');
    if (setting === 'PYEXEC_SERVER') {
      expect(() => parseConfig({ [setting]: 'http://localhost:8080' })).not.toThrow();
    } else if (here === 'refused') {
      expect(() => parseConfig({ [setting]: 'x' })).toThrow(setting);
    } else {
      expect(here).toContain(`\`${String(SETTINGS[setting as keyof typeof SETTINGS].fallback)}\``);
    }
    if (there !== here) expect(why).not.toBe('');
  });

  it('a value that cannot be used stops the boot', () => {
    expect(() => parseConfig({ PYEXEC_LOG_LEVEL: 'verbose' })).toThrow('PYEXEC_LOG_LEVEL');
    expect(() => parseConfig({ PYEXEC_DEFAULT_TIMEOUT: '5s' })).toThrow('PYEXEC_DEFAULT_TIMEOUT');
    expect(() => parseConfig({ PYEXEC_NETWORK_MODE: 'host' })).toThrow('PYEXEC_NETWORK_MODE');
    expect(() => parseConfig({ PYEXEC_DEFAULT_TIME: '5' })).toThrow('PYEXEC_DEFAULT_TIME is not a setting');
  });
});

/**
 * What is right for an image, said of the facts contents.py prints. Pure.
 *
 * Shared by `npm run images -- verify` and the tests, so that both hold the same.
 */
import { readFileSync } from 'node:fs';
import promises from './promises.json' with { type: 'json' };

const source = (name: string) => readFileSync(new URL(name, import.meta.url), 'utf8');

/** Prints the facts about its image. Its argument: the packages to import, as JSON. */
export const CONTENTS = source('contents.py');
/** An ordinary program of some kind; its argument, a number, says which. */
export const MIXED = source('mixed.py');

/** The packages the image of this folder of images/ promises. */
export function promisedBy(image: string): readonly string[] {
  return (promises as Readonly<Record<string, readonly string[]>>)[image] ?? [];
}

/**
 * @param labels of the image; the service knows from them what it need not install, and with which Python.
 * @returns what is wrong with them, a sentence each.
 */
export function labelComplaints(
  labels: Readonly<Record<string, string>>,
  image: string,
  promised: readonly string[],
): readonly string[] {
  const told = (label: string) => labels[label] ?? '(absent)';
  const packages = packagesOf(labels);
  return [
    ...(labels['pyexec.image'] === image ? [] : [`label pyexec.image is ${told('pyexec.image')}`]),
    ...(/^\d+\.\d+\.\d+/.test(told('pyexec.python')) ? [] : [`label pyexec.python is ${told('pyexec.python')}`]),
    ...(packages ? promised.filter((name) => !(name in packages)) : []).map(
      (name) => `label pyexec.packages has no ${name}`,
    ),
    ...(packages ? [] : [`label pyexec.packages is ${told('pyexec.packages').slice(0, 100)}`]),
  ];
}

function packagesOf(labels: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> | undefined {
  try {
    const packages: unknown = JSON.parse(labels['pyexec.packages'] ?? '');
    const isMap = typeof packages === 'object' && packages !== null && !Array.isArray(packages);
    return isMap ? (packages as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * @param stdout what contents.py printed
 * @param threads what the run's quota in processors makes of the thread counts
 * @returns what is wrong with the image, a sentence each; nothing when all is well.
 */
export function complaints(stdout: string, promised: readonly string[], threads: number): readonly string[] {
  const facts = JSON.parse(stdout) as Readonly<Record<string, unknown>>;
  const expected: Record<string, unknown> = {
    encoding: ['utf-8', 'utf-8', 'utf-8'],
    unwanted: [],
    threads: Object.fromEntries(
      ['MKL', 'NUMEXPR', 'OMP', 'OPENBLAS'].map((name) => [`${name}_NUM_THREADS`, String(threads)]),
    ),
    'written by imports': { '/tmp': [], '/work': [] },
  };
  if (promised.includes('matplotlib')) {
    const kinds = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, true]));
    Object.assign(expected, {
      backend: 'agg',
      'font list': true,
      glyphs: kinds(['accented', 'han', 'hangul', 'kana']),
      warnings: [],
      control: { warned: true, 'same box': true },
      figures: kinds(['figure.pdf', 'figure.png', 'figure.svg']),
      'written by drawing': { '/tmp': [], '/work': [] },
    });
  }
  if (promised.includes('numpy')) Object.assign(expected, { product: true, 'threads after BLAS': threads });
  const wrong = Object.entries(expected)
    .filter(([name, value]) => canonical(facts[name]) !== canonical(value))
    .map(([name, value]) => `${name} is ${canonical(facts[name])} and should be ${canonical(value)}`);
  const imported = Object.keys(facts['imports'] ?? {});
  const missing = promised.filter((name) => !imported.includes(name));
  return [...wrong, ...missing.map((name) => `${name} was not imported`)];
}

/** JSON with sorted keys and lower-case text, so that what is equal is the same text. */
function canonical(value: unknown): string {
  const sorted = (_key: string, part: unknown): unknown =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([one], [other]) => one.localeCompare(other)))
      : part;
  return (JSON.stringify(value, sorted) ?? 'not there').toLowerCase();
}

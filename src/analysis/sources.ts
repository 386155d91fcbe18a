/**
 * Which files of a project are Python sources. Pure.
 *
 * By name, as Python's imports have it, and the file the program begins with, whatever
 * its name. A link counts as what it points to.
 */
import type { EntryPoint } from '../domain/plan.ts';
import type { ProjectEntry } from '../domain/project.ts';

const SOURCE_NAME = /\.pyw?$/i;
const STEPS_MAX = 256;

/** Paths of the regular files that are sources, in the order of the archive. */
export function sourcesOf(entries: readonly ProjectEntry[], entryPoint?: EntryPoint): readonly string[] {
  const links = new Map<string, string>();
  for (const { path, linkTarget } of entries) if (linkTarget !== undefined) links.set(path, linkTarget);
  const named = new Set<string>();
  if (entryPoint?.kind === 'script') named.add(resolved(entryPoint.path, links));
  for (const { path, kind } of entries) {
    if (kind !== 'directory' && SOURCE_NAME.test(path)) named.add(links.size === 0 ? path : resolved(path, links));
  }
  return entries.filter(({ path, kind }) => kind === 'file' && named.has(path)).map(({ path }) => path);
}

/** The path below the project that `path` leads to through its links; the gate has seen that it ends. */
function resolved(path: string, links: ReadonlyMap<string, string>): string {
  const rest = path.split('/');
  const at: string[] = [];
  for (let step = 0; rest.length > 0 && step < STEPS_MAX; step += 1) {
    const part = rest.shift() ?? '';
    if (part === '' || part === '.') continue;
    if (part === '..') {
      at.pop();
      continue;
    }
    const target = links.get([...at, part].join('/'));
    if (target === undefined) at.push(part);
    else rest.unshift(...target.split('/'));
  }
  return [...at, ...rest].join('/');
}

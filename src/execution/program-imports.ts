/**
 * Which of some modules a project's own files import, found cheaply or not at all:
 * only small projects are read, only files that name one of them are parsed, and
 * only a few of those.
 */
import { canonicalFiles } from '../archive/canonical-files.ts';
import { importedModules } from '../dependencies/imported-packages.ts';
import { STANDARD_MODULES } from '../dependencies/standard-modules.ts';
import type { Project } from '../domain/project.ts';

const TAR_BYTES_MAX = 128 << 10;
const PARSED_BYTES_MAX = 64 << 10;
const PARSED_FILES_MAX = 8;

/**
 * Code that may change what an import does before it gets there: the environment
 * libraries read, where modules are looked for, what counts as imported.
 */
const CHANGES_IMPORTS = /\b(?:environ|putenv|meta_path|path_hooks|__import__)\b|\bsys\s*\.\s*(?:modules|path)\b/;

/**
 * The modules among `wanted` (top-level names) that the project imports; none when
 * the project is large, changes what imports mean, or has a module of its own that
 * a library could meet instead of its own.
 * @param laid paths of files that lie over the project for some inputs; code among them is not read, so none is allowed.
 */
export async function importsAmong(
  wanted: ReadonlySet<string>,
  project: Project,
  laid: readonly string[] = [],
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  const paths = [...project.entries.map(({ path }) => path), ...laid];
  if (wanted.size === 0 || project.tarBytes > TAR_BYTES_MAX || hidesModules(wanted, paths)) return found;
  if (laid.some((path) => path.endsWith('.py'))) return found;
  const parts: Buffer[] = [];
  for await (const part of project.read()) parts.push(part);
  const parsed: string[] = [];
  let parsedBytes = 0;
  for (const { path, content } of canonicalFiles(Buffer.concat(parts))) {
    if (!path.endsWith('.py')) continue;
    const code = content.toString('utf8');
    if (CHANGES_IMPORTS.test(code)) return found;
    if (![...wanted].some((module) => code.includes(module))) continue;
    parsed.push(code);
    parsedBytes += content.length;
    if (parsed.length > PARSED_FILES_MAX || parsedBytes > PARSED_BYTES_MAX) return found;
  }
  for (const code of parsed) {
    for (const module of importedModules(code)) if (wanted.has(module)) found.add(module);
  }
  return found;
}

/** Whether a file or folder of the project can be imported under a name that a library imports. */
function hidesModules(wanted: ReadonlySet<string>, paths: readonly string[]): boolean {
  // Names with a dot are configuration that libraries look for, and the caches they write when they are imported.
  const isHidden = paths.some((path) => path.startsWith('.'));
  if (isHidden) return true;
  return paths.some((path) =>
    path.split('/').some((part) => {
      const [name = ''] = part.split('.', 1);
      return wanted.has(name) || STANDARD_MODULES.has(name);
    }),
  );
}

/**
 * What Python is told to run, found in the project. Pure.
 *
 * A path is judged by its text and must name something the project has; it is
 * passed to Python as an argument, never to a shell, and cannot be mistaken for an
 * option because it never begins with `-`.
 */
import { ServiceError } from '../domain/errors.ts';
import type { EntryPoint } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';

const MODULE = /^[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*$/u;
const LISTED_MAX = 20;

/**
 * The entry point asked for, or the one the project implies: main.py, __main__.py, its only .py file.
 * @param mayAppear whether commands run before the program could still create it.
 * @throws {ServiceError} entrypoint_missing, invalid_entrypoint.
 */
export function chooseEntryPoint(asked: EntryPoint | undefined, project: Project, mayAppear: boolean): EntryPoint {
  if (asked?.kind === 'module') {
    if (asked.name.length > 256 || !MODULE.test(asked.name)) {
      throw new ServiceError('invalid_entrypoint', 'The module is not a dotted Python name.');
    }
    return asked;
  }
  if (asked) return { kind: 'script', path: scriptPath(asked.path, project, mayAppear) };
  const files = project.entries.filter(({ kind }) => kind === 'file').map(({ path }) => path);
  const implied =
    ['main.py', '__main__.py'].find((name) => files.includes(name)) ??
    onlyOf(files.filter((path) => path.endsWith('.py')));
  if (implied === undefined) {
    const folder = commonFolder(files);
    throw new ServiceError(
      'entrypoint_missing',
      'No entry point was named, and the project has no main.py, no __main__.py and not exactly one .py file.' +
        (folder === undefined
          ? ''
          : ` Everything is inside ${JSON.stringify(folder)}: pack what is in that folder instead.`),
      {
        members: { files: files.slice(0, LISTED_MAX) },
      },
    );
  }
  return { kind: 'script', path: implied };
}

/** The top folder that holds every file, when there is one and a script lies directly in it. */
function commonFolder(paths: readonly string[]): string | undefined {
  const folders = new Set(paths.map((path) => path.split('/', 1)[0] ?? ''));
  const [folder] = folders;
  if (folders.size !== 1 || folder === undefined) return undefined;
  return paths.some((path) => path === `${folder}/main.py` || path === `${folder}/__main__.py`) ? folder : undefined;
}

function onlyOf(paths: readonly string[]): string | undefined {
  return paths.length === 1 ? paths[0] : undefined;
}

function scriptPath(asked: string, project: Project, mayAppear: boolean): string {
  const refuse = (reason: string) =>
    new ServiceError('invalid_entrypoint', `The entry point ${JSON.stringify(asked.slice(0, 200))} ${reason}.`);
  if (asked === '') throw refuse('is empty');
  if (asked.length > 4096 || /[\u0000-\u001f\u007f]/.test(asked)) throw refuse('is not a path');
  if (asked.startsWith('/')) throw refuse('must be relative to the project');
  if (asked.startsWith('-')) throw refuse('begins with a dash, which Python would take for an option');
  const parts = asked.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw refuse('leaves the project');
  const path = parts.join('/') || '.';
  // A file, a link, something behind a link, or a directory that Python can run.
  const main = path === '.' ? '__main__.py' : `${path}/__main__.py`;
  const exists = project.entries.some(
    (entry) =>
      (entry.path === path && entry.kind !== 'directory') ||
      entry.path === main ||
      (entry.kind === 'symlink' && path.startsWith(`${entry.path}/`)),
  );
  if (!exists && !mayAppear) {
    const files = project.entries.filter(({ kind }) => kind === 'file').slice(0, LISTED_MAX);
    throw new ServiceError('entrypoint_missing', `The project has no ${JSON.stringify(path.slice(0, 200))}.`, {
      members: { files: files.map((entry) => entry.path) },
    });
  }
  if (path.startsWith('-')) throw refuse('begins with a dash, which Python would take for an option');
  return path;
}

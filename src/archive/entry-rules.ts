/**
 * Judges the names of an archive by their text. Pure: no file system, no clock.
 *
 * A name is accepted as it stands or refused; the only repair is that one leading
 * `./` is taken off, because `tar c .` writes it. Bytes are compared as bytes: no
 * case folding and no Unicode normalisation, as on Linux. A backslash is refused:
 * it is never a separator here, and a caller who meant one should hear of it.
 *
 * How entries relate to one another is the business of project-tree.ts and
 * link-chains.ts.
 */
import type { ArchiveLimits } from './archive-limits.ts';
import { refuseEntry } from './refusal.ts';

type NameLimits = Pick<ArchiveLimits, 'depth' | 'nameBytes' | 'componentBytes'>;
export type EntryKind = 'file' | 'directory' | 'symlink';

/**
 * The components of an entry's path; none for the project root itself.
 * Throws the refusal of the first rule the name breaks.
 */
export function checkPath(name: string, kind: EntryKind, limits: NameLimits): readonly string[] {
  checkCharacters(name, name, 'name');
  if (name === '') throw refuseEntry('invalid_name', name, 'has no name');
  let path = name.startsWith('./') ? name.slice(2) : name;
  if (kind === 'directory') {
    if (path === '' || path === '.') return [];
    if (path.endsWith('/') && path.length > 1) path = path.slice(0, -1);
  } else if (path === '' || path.endsWith('/')) {
    throw refuseEntry('invalid_name', name, `is a ${kind} with the name of a directory`);
  }
  if (path.startsWith('/')) throw refuseEntry('path_escape', name, 'has an absolute path');

  const components = path.split('/');
  if (components.includes('..')) throw refuseEntry('path_escape', name, 'has ".." in its path');
  if (components.includes('') || components.includes('.')) {
    throw refuseEntry('invalid_name', name, 'has an empty or "." component in its path');
  }
  if (components.length > limits.depth) {
    throw refuseEntry('too_deep', name, `is nested deeper than ${limits.depth} levels`);
  }
  checkLength(name, path, components, limits);
  return components;
}

/**
 * Judges a link's target by its text and returns its components. A target that
 * leaves the root by text alone is refused here; one that leaves it by way of
 * other links is found by link-chains.ts once all entries are known.
 */
export function checkLinkTarget(
  name: string,
  target: string,
  levelsBelowRoot: number,
  limits: NameLimits,
): readonly string[] {
  if (target === '') throw refuseEntry('invalid_name', name, 'is a symbolic link without a target');
  checkCharacters(name, target, 'link target');
  if (target.startsWith('/')) throw refuseEntry('link_escape', name, 'links to an absolute path');
  const components = target.split('/').filter((component) => component !== '' && component !== '.');
  checkLength(name, target, components, limits);
  const climbs = components.findIndex((component) => component !== '..');
  if ((climbs === -1 ? components.length : climbs) > levelsBelowRoot) {
    throw refuseEntry('link_escape', name, 'links to a path outside the project');
  }
  return components;
}

/**
 * Refuses an overridden name that another reader could still use to leave the
 * root. A name that fills its field may be cut off, so its last component is let be.
 */
export function checkOverriddenName(name: Buffer, mayBeCut: boolean): void {
  const components = name.toString('latin1').split('/');
  if (mayBeCut) components.pop();
  if ((components.length > 1 && components[0] === '') || components.includes('..')) {
    throw refuseEntry('path_escape', name.toString('utf8'), 'leaves the project under one of its two names');
  }
}

function checkCharacters(name: string, text: string, what: string): void {
  // Decoding puts U+FFFD for bytes that are not UTF-8, so that different names could
  // become one; a stored U+FFFD is what somebody else's decoding left of a name.
  if (!text.isWellFormed() || text.includes('\ufffd')) {
    throw refuseEntry('name_not_utf8', name, `has a ${what} that is not UTF-8`);
  }
  if (/\p{Cc}/u.test(text)) throw refuseEntry('invalid_name', name, `has a control character in its ${what}`);
  if (text.includes('\\')) {
    throw refuseEntry('invalid_name', name, `has a backslash in its ${what}; the separator is "/"`);
  }
}

/** The kernel counts bytes, not characters. */
function checkLength(name: string, path: string, components: readonly string[], limits: NameLimits): void {
  if (Buffer.byteLength(path) > limits.nameBytes) {
    throw refuseEntry('name_too_long', name, `has a path longer than ${limits.nameBytes} bytes`);
  }
  // No component can be too long in a path shorter than the limit.
  if (path.length * 3 <= limits.componentBytes) return;
  for (const component of components) {
    if (Buffer.byteLength(component) > limits.componentBytes) {
      throw refuseEntry('name_too_long', name, `has a component longer than ${limits.componentBytes} bytes`);
    }
  }
}

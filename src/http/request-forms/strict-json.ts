/**
 * JSON from a caller, without the parts on which readers differ. Pure.
 *
 * Refused: what is not UTF-8, a key given twice (one reader takes the first, one
 * the last), keys that reach a prototype, and nesting no request of ours has.
 * Sentences say where, never what: they do not repeat the caller's text.
 */
import { ServiceError } from '../../domain/errors.ts';

const DEPTH_MAX = 32;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * @param subject what the sentences call the text, such as `The body`.
 * @throws {ServiceError} invalid_json.
 */
export function parseStrictJson(bytes: Uint8Array, subject: string): unknown {
  const refuse = (reason: string, cause?: unknown) =>
    new ServiceError('invalid_json', `${subject} ${reason}.`, cause === undefined ? {} : { cause });
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw refuse('is not UTF-8');
  }
  if (text.trim() === '') throw refuse('is empty');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const position = error instanceof Error ? /at position (\d{1,12})/.exec(error.message)?.[1] : undefined;
    throw refuse(`is not valid JSON${position === undefined ? '' : ` at position ${position}`}`);
  }
  const fault = findFault(text);
  if (fault !== undefined) throw refuse(fault);
  return value;
}

interface Container {
  /** The keys seen so far; undefined in an array. */
  readonly keys: Set<string> | undefined;
  readonly isConstructor: boolean;
}

/** What is wrong with the keys or the nesting of `text`, which is known to be valid JSON. */
function findFault(text: string): string | undefined {
  const stack: Container[] = [];
  let isKeyNext = false;
  let key: string | undefined;
  for (let at = 0; at < text.length; at++) {
    switch (text.charAt(at)) {
      case '{':
        stack.push({ keys: new Set(), isConstructor: key === 'constructor' });
        isKeyNext = true;
        break;
      case '[':
        stack.push({ keys: undefined, isConstructor: false });
        isKeyNext = false;
        key = undefined;
        break;
      case '}':
      case ']':
        stack.pop();
        isKeyNext = false;
        key = undefined;
        break;
      case ',':
        isKeyNext = stack.at(-1)?.keys !== undefined;
        key = undefined;
        break;
      case '"': {
        const end = endOfString(text, at);
        const container = stack.at(-1);
        if (isKeyNext && container?.keys) {
          key = JSON.parse(text.slice(at, end + 1)) as string;
          if (key === '__proto__' || (key === 'prototype' && container.isConstructor)) {
            return 'has a key that reaches a prototype';
          }
          if (container.keys.has(key)) return `has a key twice at position ${String(at)}`;
          container.keys.add(key);
          isKeyNext = false;
        }
        at = end;
        break;
      }
      default:
        break;
    }
    if (stack.length > DEPTH_MAX) return `is nested more than ${String(DEPTH_MAX)} deep`;
  }
  return undefined;
}

/** The position of the quote that ends the string begun at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0 && text.charCodeAt(end) === QUOTE) return end;
  }
  return text.length;
}

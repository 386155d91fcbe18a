/**
 * Builds the errors of this stage. Pure.
 *
 * A name in a sentence is quoted, escaped and shortened, so that it can neither
 * forge a log line nor reorder text on a terminal. Sentences never hold content
 * of a file.
 */
import { type ErrorCode, ServiceError } from '../domain/errors.ts';

const QUOTED_CHARACTERS = 100;

/** A refusal of one entry; `why` continues the sentence that starts with its name. */
export function refuseEntry(code: ErrorCode, name: string, why: string): ServiceError {
  return new ServiceError(code, `Entry ${quoteName(name)} ${why}.`, { members: { entry: shorten(name) } });
}

/** A refusal of the archive as a whole. */
export function refuseArchive(code: ErrorCode, sentence: string): ServiceError {
  return new ServiceError(code, sentence);
}

/** `name` as a JSON string that holds printable characters only. */
function quoteName(name: string): string {
  return JSON.stringify(shorten(name)).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) =>
    character.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}

function shorten(name: string): string {
  if (name.length <= QUOTED_CHARACTERS) return name.toWellFormed();
  const cut = name.slice(0, QUOTED_CHARACTERS);
  const last = cut.charCodeAt(cut.length - 1);
  const endsInHalfACharacter = last >= 0xd800 && last <= 0xdbff;
  return `${(endsInHalfACharacter ? cut.slice(0, -1) : cut).toWellFormed()}…`;
}

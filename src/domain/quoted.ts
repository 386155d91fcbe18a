/**
 * Names of callers as sentences hold them. Pure.
 *
 * They are quoted, escaped and shortened, so that they can neither forge a log
 * line nor reorder text on a terminal.
 */

const CHARACTERS_MAX = 100;

/** `name` as a JSON string that holds printable characters only. */
export function quoted(name: string): string {
  return JSON.stringify(shortened(name)).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) =>
    character.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}

export function shortened(name: string): string {
  if (name.length <= CHARACTERS_MAX) return name.toWellFormed();
  const cut = name.slice(0, CHARACTERS_MAX);
  const last = cut.charCodeAt(cut.length - 1);
  const endsInHalfACharacter = last >= 0xd800 && last <= 0xdbff;
  return `${(endsInHalfACharacter ? cut.slice(0, -1) : cut).toWellFormed()}…`;
}

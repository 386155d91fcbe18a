/**
 * The words of one requirement (PEP 508, PEP 440), read from left to right. Every
 * expression is anchored where the last one ended, and linear.
 */

/** What is wrong with a line; the message continues a sentence that began with its number. */
export class RequirementSyntaxError extends Error {
  override readonly name = 'RequirementSyntaxError';
}

const NAME = /[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?/y;
const OPERATOR = /===|~=|==|!=|<=|>=|<|>/y;
/** A version of PEP 440, in any spelling it allows. */
const VERSION =
  /v?(?:[0-9]{1,9}!)?[0-9]{1,20}(?:\.[0-9]{1,20}){0,20}(?:[-_.]?(?:alpha|beta|preview|pre|rc|a|b|c)[-_.]?[0-9]{0,20})?(?:-[0-9]{1,20}|[-_.]?(?:post|rev|r)[-_.]?[0-9]{0,20})?(?:[-_.]?dev[-_.]?[0-9]{0,20})?(?:\+[a-z0-9]{1,50}(?:[-_.][a-z0-9]{1,50}){0,10})?/iy;
const HASH = /--hash(?:=|[ \t]+)sha256:([0-9a-fA-F]{64})(?![0-9a-zA-Z])/y;
const VERSIONS_MAX = 20;
const EXTRAS_MAX = 20;

export class RequirementScanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  #skipBlanks(): void {
    while (this.#text[this.#at] === ' ' || this.#text[this.#at] === '\t') this.#at += 1;
  }

  /** What `expression` (sticky) matches here, after blanks; undefined when it does not. */
  take(expression: RegExp): string | undefined {
    this.#skipBlanks();
    expression.lastIndex = this.#at;
    const match = expression.exec(this.#text);
    if (!match || match[0] === '') return undefined;
    this.#at = expression.lastIndex;
    return match[1] ?? match[0];
  }

  accept(symbol: string): boolean {
    this.#skipBlanks();
    if (!this.#text.startsWith(symbol, this.#at)) return false;
    this.#at += symbol.length;
    return true;
  }

  /** The next character that is no blank; empty at the end. */
  peek(): string {
    this.#skipBlanks();
    return this.#text[this.#at] ?? '';
  }

  name(): string {
    const name = this.take(NAME);
    if (name === undefined) throw new RequirementSyntaxError('does not begin with the name of a package');
    return name;
  }

  extras(): readonly string[] {
    if (!this.accept('[')) return [];
    const extras: string[] = [];
    if (this.accept(']')) return extras;
    do {
      const extra = this.take(NAME);
      if (extra === undefined || extras.length === EXTRAS_MAX)
        throw new RequirementSyntaxError('has odd extras in [ ]');
      extras.push(extra);
    } while (this.accept(','));
    if (!this.accept(']')) throw new RequirementSyntaxError('has extras without a closing ]');
    return extras;
  }

  /** Version clauses such as `>=1.2`, sorted. */
  versions(): readonly string[] {
    const isBracketed = this.accept('(');
    const clauses: string[] = [];
    if (isBracketed || '<>=!~'.includes(this.peek() || ' ')) {
      do {
        clauses.push(this.#versionClause());
        if (clauses.length > VERSIONS_MAX) throw new RequirementSyntaxError('has too many version clauses');
      } while (this.accept(','));
    }
    if (isBracketed && !this.accept(')')) throw new RequirementSyntaxError('has versions without a closing )');
    return clauses.sort();
  }

  #versionClause(): string {
    const operator = this.take(OPERATOR);
    const version = operator === undefined ? undefined : this.take(VERSION)?.toLowerCase();
    if (operator === undefined || version === undefined) throw new RequirementSyntaxError('has an odd version');
    const isWildcard = this.#text.startsWith('.*', this.#at);
    if (isWildcard && operator !== '==' && operator !== '!=') {
      throw new RequirementSyntaxError('has a wildcard where none can be');
    }
    if (isWildcard) this.#at += 2;
    if (operator === '~=' && !/^v?(?:[0-9]+!)?[0-9]+\.[0-9]/.test(version)) {
      throw new RequirementSyntaxError('needs two numbers after ~=');
    }
    return `${operator}${version}${isWildcard ? '.*' : ''}`;
  }

  /** SHA-256 values in lower case, each once, sorted. */
  hashes(): readonly string[] {
    const hashes = new Set<string>();
    for (let hash = this.take(HASH); hash !== undefined; hash = this.take(HASH)) hashes.add(hash.toLowerCase());
    return [...hashes].sort();
  }

  end(): void {
    if (this.peek() === '') return;
    const rest = this.#text.slice(this.#at);
    if (rest.startsWith('--hash')) throw new RequirementSyntaxError('has a hash that is not sha256 in 64 digits');
    if (rest.startsWith('-')) throw new RequirementSyntaxError('has an option; only --hash=sha256:… may follow');
    throw new RequirementSyntaxError('goes on in a way that is not understood');
  }
}

/**
 * Which images may be run, and which image a name means. Pure.
 *
 * A reference is compared in its full form, so `python`, `python:latest` and
 * `docker.io/library/python:latest` are one image. What does not match a pattern
 * of the operator is refused; nothing is ever pulled.
 */

/** The full form of an image reference: registry, repository and tag (or digest) spelled out. */
export function normalizeReference(reference: string): string {
  const digestAt = reference.indexOf('@');
  const named = digestAt === -1 ? reference : reference.slice(0, digestAt);
  const digest = digestAt === -1 ? '' : reference.slice(digestAt);
  const slash = named.indexOf('/');
  const first = slash === -1 ? '' : named.slice(0, slash);
  const hasRegistry = first.includes('.') || first.includes(':') || first === 'localhost';
  const path = hasRegistry ? named : `docker.io/${slash === -1 ? 'library/' : ''}${named}`;
  const hasTag = path.lastIndexOf(':') > path.lastIndexOf('/');
  return `${path}${hasTag || digest !== '' ? '' : ':latest'}${digest}`;
}

// The grammar of distribution/reference. Separators and what they separate share no character, so matching is linear.
const REGISTRY = String.raw`(?:[a-z0-9]+(?:[.-]+[a-z0-9]+)*(?::[0-9]{1,5})?\/)?`;
const COMPONENT = String.raw`[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*`;
const TAG = String.raw`(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?`;
const DIGEST = String.raw`(?:@sha256:[0-9a-f]{64})?`;
const REFERENCE = new RegExp(`^${REGISTRY}${COMPONENT}(?:\\/${COMPONENT})*${TAG}${DIGEST}$`);

/** Whether `value` has the form of an image reference. Refuses ids, options and anything with odd characters. */
export function isReference(value: string): boolean {
  return value.length <= 256 && REFERENCE.test(value) && !/^(?:sha256:|[0-9a-f]{64}$)/.test(value);
}

/** A matcher for patterns such as `pyexec/*` or `python:3.*-slim`; `*` stands for any characters but `/`. */
export function imageMatcher(patterns: readonly string[]): (reference: string) => boolean {
  const matchers = patterns.map((pattern) => {
    // A pattern without a tag allows every tag of its repository.
    const tagless = pattern.lastIndexOf(':') <= pattern.lastIndexOf('/') && !pattern.includes('@');
    const full = normalizeReference(tagless ? `${pattern}:*` : pattern);
    const source = full
      .split('*')
      .map((literal) => literal.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
      .join('[^/]*');
    return new RegExp(`^${source}$`);
  });
  return (reference) => matchers.some((matcher) => matcher.test(normalizeReference(reference)));
}

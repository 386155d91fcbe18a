/**
 * The order of versions of Python packages (PEP 440). Pure.
 *
 * For sentences about which version is fixed, not for deciding what is vulnerable:
 * that is the source's to know. What is no such version is before all that are.
 */

const VERSION =
  /^v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(alpha|beta|preview|pre|rc|a|b|c)[-_.]?(\d*))?(?:-(\d+)|[-_.]?(post|rev|r)[-_.]?(\d*))?(?:[-_.]?(dev)[-_.]?(\d*))?(?:\+[a-z0-9._-]*)?$/i;
const PHASES: Readonly<Record<string, number>> = { a: 0, alpha: 0, b: 1, beta: 1, c: 2, rc: 2, pre: 2, preview: 2 };
const FINAL = 3;
const LENGTH_MAX = 100;

/** Numbers that compare as the versions do, place by place; releases are compared as if filled up with zeros. */
interface Key {
  readonly epoch: number;
  readonly release: readonly number[];
  readonly rest: readonly number[];
}

function keyOf(version: string): Key | undefined {
  const match = version.length > LENGTH_MAX ? null : VERSION.exec(version.trim());
  if (!match) return undefined;
  const [, epoch = '0', release = '', phase, phaseNumber, dashed, post, postNumber, dev, devNumber] = match;
  const isPost = dashed !== undefined || post !== undefined;
  const isOnlyDev = dev !== undefined && phase === undefined && !isPost;
  // 1.0.dev1 < 1.0a1 < 1.0rc1 < 1.0 < 1.0.post1
  const preRank = isOnlyDev ? -1 : phase === undefined ? FINAL : (PHASES[phase.toLowerCase()] ?? FINAL);
  return {
    epoch: Number(epoch),
    release: release.split('.').map(Number),
    rest: [
      preRank,
      Number(phaseNumber ?? 0),
      isPost ? 1 + Number(dashed ?? postNumber ?? 0) : 0,
      dev === undefined ? Infinity : Number(devNumber ?? 0),
    ],
  };
}

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  for (let place = 0; place < Math.max(a.length, b.length); place += 1) {
    const [left = 0, right = 0] = [a[place], b[place]];
    if (left !== right) return left < right ? -1 : 1;
  }
  return 0;
}

/** Negative where `a` is the earlier one. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [keyOf(a), keyOf(b)];
  if (!left || !right) return Number(left !== undefined) - Number(right !== undefined);
  return (
    left.epoch - right.epoch || compareNumbers(left.release, right.release) || compareNumbers(left.rest, right.rest)
  );
}

/** Whether it is one, and not a pre-release. */
export function isFinalVersion(version: string): boolean {
  const key = keyOf(version);
  return key?.rest[0] === FINAL && key.rest[3] === Infinity;
}

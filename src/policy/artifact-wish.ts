/**
 * Which files a run may leave: what was asked for, within what the operator keeps. Pure.
 *
 * Patterns are matched inside the sandbox; here only their form is judged.
 */
import type { ArtifactLimits, ArtifactWish } from '../domain/artifacts.ts';
import { ServiceError } from '../domain/errors.ts';
import type { RunRequest } from '../domain/plan.ts';

const PATTERNS_MAX = 100;
const PATTERN_BYTES_MAX = 1000;

/** @throws {ServiceError} invalid_request, limit_too_high. */
export function artifactWish(
  asked: RunRequest['artifacts'],
  limits: ArtifactLimits | undefined,
): ArtifactWish | undefined {
  if (!asked || !limits || limits.files === 0) return undefined;
  if (asked.inlineBytes > limits.inlineBytes) {
    throw new ServiceError('limit_too_high', `artifacts_inline_bytes may be at most ${String(limits.inlineBytes)}.`, {
      members: { field: 'artifacts_inline_bytes', maximum: limits.inlineBytes },
    });
  }
  if (asked.patterns.length > PATTERNS_MAX) {
    throw invalid('artifacts', `There may be at most ${String(PATTERNS_MAX)} artifact patterns.`);
  }
  const patterns = asked.patterns.map((pattern, index) => relativePattern(pattern, `artifacts.${String(index)}`));
  return { patterns, inlineBytes: asked.inlineBytes, files: limits.files, bytes: limits.bytes };
}

function relativePattern(pattern: string, field: string): string {
  const relative = pattern.replace(/^(?:\.\/)+/, '').replace(/\/+$/, '');
  if (Buffer.byteLength(relative) > PATTERN_BYTES_MAX) {
    throw invalid(field, `An artifact pattern may have at most ${String(PATTERN_BYTES_MAX)} bytes.`);
  }
  const components = relative.split('/');
  if (components.some((component) => component === '' || component === '.' || component === '..')) {
    throw invalid(field, 'An artifact pattern is a path below /work: not empty, not absolute, without "." or "..".');
  }
  return relative;
}

function invalid(field: string, sentence: string): ServiceError {
  return new ServiceError('invalid_request', sentence, { members: { field } });
}

/**
 * Which packages a request may ask for: the operator's decision. Pure.
 *
 * An allow-list names what may be asked for. What those packages depend on comes
 * with them: it was their authors' decision, and the operator's to list them.
 */
import { ServiceError } from '../domain/errors.ts';
import { canonicalName, type Requirement } from './requirements.ts';

export type PackageMode = 'off' | 'allow-list' | 'any';

export interface PackagePolicy {
  readonly mode: PackageMode;
  /** Canonical names, for `allow-list`. */
  readonly allowed: ReadonlySet<string>;
}

/** A policy from the operator's words. */
export function packagePolicy(mode: PackageMode, allowed: readonly string[]): PackagePolicy {
  return { mode, allowed: new Set(allowed.map(canonicalName)) };
}

/** @throws {ServiceError} requirements_not_supported where nothing is installed, requirements_not_allowed for a name. */
export function checkAllowed(requirements: readonly Requirement[], policy: PackagePolicy): void {
  if (requirements.length === 0) return;
  if (policy.mode === 'off') {
    throw new ServiceError(
      'requirements_not_supported',
      'Packages cannot be installed on this server: leave the requirements out, or name an image that has them.',
      { members: { field: 'requirements' } },
    );
  }
  const refused = requirements.find(({ name }) => !mayAskFor(name, policy));
  if (refused) {
    throw new ServiceError('requirements_not_allowed', `The operator does not allow the package ${refused.name}.`, {
      members: { field: 'requirements', package: refused.name },
    });
  }
}

/** Whether a request may name this package (in its canonical form). */
export function mayAskFor(name: string, policy: PackagePolicy): boolean {
  return policy.mode === 'any' || (policy.mode === 'allow-list' && policy.allowed.has(name));
}

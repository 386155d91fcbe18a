/**
 * What the operator allows, narrowed to what one caller may have. Pure.
 *
 * A caller can have less than everybody, never more.
 */
import type { Caller } from '../domain/caller.ts';
import type { LimitName, Limits } from '../domain/limits.ts';
import type { OperatorPolicy } from './decide.ts';
import { imageMatcher } from './image-catalogue.ts';

/** `policy` with the caller's maxima; defaults above them are lowered to them. */
export function withinCaller(policy: OperatorPolicy, { maxima }: Caller): OperatorPolicy {
  if (!maxima) return policy;
  const atMost = (limits: Limits): Limits => {
    const lowered = { ...limits };
    for (const name of Object.keys(limits) as LimitName[]) {
      lowered[name] = Math.min(limits[name], maxima[name] ?? Infinity);
    }
    return lowered;
  };
  return { ...policy, defaults: atMost(policy.defaults), maxima: atMost(policy.maxima) };
}

/** Whether the caller may use an image that the operator allows. */
export function mayUseImage({ images }: Caller, reference: string): boolean {
  return images === undefined || imageMatcher(images)(reference);
}

/** The image of a request that names none: the operator's, or the first that the caller's list names in full. */
export function defaultImageOf(caller: Caller, operatorDefault: string): string {
  if (mayUseImage(caller, operatorDefault)) return operatorDefault;
  return caller.images?.find((pattern) => !pattern.includes('*')) ?? operatorDefault;
}

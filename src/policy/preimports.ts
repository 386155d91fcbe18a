/**
 * Which of the operator's pre-imports a program gets. Pure.
 *
 * A program that imports none of the modules gets none. One that does gets the
 * offer with the most modules it imports itself and, among those, with the fewest
 * it does not: these it could find in `sys.modules`, and nowhere else.
 */
import type { RunPlan, RunRequest } from '../domain/plan.ts';

/** The name an import begins with. */
export function topLevelOf(module: string): string {
  return module.split('.', 1)[0] ?? module;
}

/** @param imported the top-level modules the program imports. */
export function choosePreimports(
  offers: readonly (readonly string[])[],
  imported: ReadonlySet<string>,
): readonly string[] {
  let best: { offer: readonly string[]; used: number } = { offer: [], used: 0 };
  for (const offer of offers) {
    const used = offer.filter((module) => imported.has(topLevelOf(module))).length;
    const isBetter = used > best.used || (used === best.used && used > 0 && offer.length < best.offer.length);
    if (isBetter) best = { offer, used };
  }
  return best.offer;
}

/**
 * Whether a plan runs in the waiting child with nothing that libraries read while
 * they are imported. The supervisor judges again, and starts a new interpreter.
 */
export function mayUsePreimports({ entryPoint, commandChain }: RunPlan, { environment }: RunRequest): boolean {
  return (
    entryPoint.kind === 'script' &&
    entryPoint.path.endsWith('.py') &&
    commandChain.length === 0 &&
    Object.keys(environment).length === 0
  );
}

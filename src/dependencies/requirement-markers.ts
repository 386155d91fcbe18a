/**
 * Environment markers (PEP 508) such as `python_version < "3.12" and sys_platform
 * == "linux"`: checked, and written in one form. They are judged by the installer.
 */
import { RequirementSyntaxError, type RequirementScanner } from './requirement-scanner.ts';

const VARIABLE =
  /(?:python_full_version|python_version|os_name|sys_platform|platform_release|platform_system|platform_version|platform_machine|platform_python_implementation|implementation_name|implementation_version|extra)(?![A-Za-z0-9_])/y;
const LITERAL = /"[A-Za-z0-9 ()!#$%&*+,./:;<=>?@^_{|}~-]{0,100}"|'[A-Za-z0-9 ()!#$%&*+,./:;<=>?@^_{|}~-]{0,100}'/y;
const COMPARISON = /(?:===|~=|==|!=|<=|>=|<|>|in(?![A-Za-z0-9_])|not[ \t]+in(?![A-Za-z0-9_]))/y;
const OR = /or(?![A-Za-z0-9_])/y;
const AND = /and(?![A-Za-z0-9_])/y;
const DEPTH_MAX = 16;
const TERMS_MAX = 64;

/** Reads a marker to its end. @throws {RequirementSyntaxError} */
export function readMarker(scanner: RequirementScanner): string {
  let terms = 0;
  const operand = (): string => {
    const variable = scanner.take(VARIABLE);
    if (variable !== undefined) return variable;
    const literal = scanner.take(LITERAL);
    if (literal === undefined) throw new RequirementSyntaxError('has a marker that is not understood');
    return `"${literal.slice(1, -1)}"`;
  };
  const term = (depth: number): string => {
    terms += 1;
    if (depth > DEPTH_MAX || terms > TERMS_MAX) throw new RequirementSyntaxError('has a marker that is too long');
    if (scanner.accept('(')) {
      const inner = either(depth + 1);
      if (!scanner.accept(')')) throw new RequirementSyntaxError('has a marker without a closing )');
      return `(${inner})`;
    }
    const left = operand();
    const comparison = scanner.take(COMPARISON)?.replaceAll(/\s+/g, ' ');
    if (comparison === undefined) throw new RequirementSyntaxError('has a marker that compares nothing');
    const right = operand();
    if (left.startsWith('"') && right.startsWith('"')) {
      throw new RequirementSyntaxError('has a marker that names no variable');
    }
    return `${left} ${comparison} ${right}`;
  };
  const both = (depth: number): string => {
    const terms = [term(depth)];
    while (scanner.take(AND) !== undefined) terms.push(term(depth));
    return terms.join(' and ');
  };
  const either = (depth: number): string => {
    const terms = [both(depth)];
    while (scanner.take(OR) !== undefined) terms.push(both(depth));
    return terms.join(' or ');
  };
  return either(0);
}

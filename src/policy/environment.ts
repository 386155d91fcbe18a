/**
 * Which environment variables a caller may set. Pure.
 *
 * Names are what a shell can name. `LD_*` would load code into the interpreter
 * before it is one, so it is refused; everything else only reaches the program.
 */
import { ServiceError } from '../domain/errors.ts';

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const VALUE_BYTES_MAX = 32 << 10;
const VARIABLES_MAX = 256;
/** All together: execve(2) takes what fits into a quarter of the stack, names, arguments and all. */
const TOTAL_BYTES_MAX = 512 << 10;

/** @throws {ServiceError} invalid_environment, naming the variable but never its value. */
export function checkEnvironment(environment: Readonly<Record<string, string>>): void {
  const names = Object.keys(environment);
  if (names.length > VARIABLES_MAX) {
    throw new ServiceError('invalid_environment', `At most ${String(VARIABLES_MAX)} variables can be set.`);
  }
  let bytes = 0;
  for (const name of names) {
    const refuse = (reason: string) =>
      new ServiceError('invalid_environment', `The variable ${JSON.stringify(name.slice(0, 100))} ${reason}.`, {
        members: { field: 'env', variable: name.slice(0, 100) },
      });
    if (!NAME.test(name)) throw refuse('has a name that is not letters, digits and underscores');
    if (name.startsWith('LD_')) throw refuse('is read by the loader and cannot be set');
    const value = environment[name] ?? '';
    if (value.includes('\0')) throw refuse('holds a NUL character');
    if (Buffer.byteLength(value) > VALUE_BYTES_MAX) throw refuse(`is longer than ${String(VALUE_BYTES_MAX)} bytes`);
    bytes += name.length + Buffer.byteLength(value);
  }
  if (bytes > TOTAL_BYTES_MAX) {
    throw new ServiceError('invalid_environment', `All variables together may have ${String(TOTAL_BYTES_MAX)} bytes.`, {
      members: { field: 'env', maximum: TOTAL_BYTES_MAX },
    });
  }
}

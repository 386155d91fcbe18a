/** What execve(2) takes. Pure. */
import { ServiceError } from '../domain/errors.ts';

const ARGUMENT_BYTES_MAX = 120 << 10;
const ARGUMENTS_BYTES_MAX = 1 << 20;

/**
 * No NUL, 128 KiB for one argument, and a total that leaves room for the environment.
 * @throws {ServiceError} invalid_request.
 */
export function checkArguments(args: readonly string[], field: string): void {
  const refuse = (reason: string) => new ServiceError('invalid_request', reason, { members: { field } });
  let bytes = 0;
  for (const argument of args) {
    if (argument.includes('\0')) throw refuse('An argument holds a NUL character.');
    const length = Buffer.byteLength(argument);
    if (length > ARGUMENT_BYTES_MAX) throw refuse(`An argument may have at most ${String(ARGUMENT_BYTES_MAX)} bytes.`);
    bytes += length + 1;
  }
  if (bytes > ARGUMENTS_BYTES_MAX) {
    throw refuse(`All arguments together may have at most ${String(ARGUMENTS_BYTES_MAX)} bytes.`);
  }
}

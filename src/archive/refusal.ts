/**
 * Builds the errors of this stage. Pure.
 *
 * Sentences hold names as domain/quoted.ts writes them, and never content of a file.
 */
import { type ErrorCode, ServiceError } from '../domain/errors.ts';
import { quoted, shortened } from '../domain/quoted.ts';

/** A refusal of one entry; `why` continues the sentence that starts with its name. */
export function refuseEntry(code: ErrorCode, name: string, why: string): ServiceError {
  return new ServiceError(code, `Entry ${quoted(name)} ${why}.`, { members: { entry: shortened(name) } });
}

/** A refusal of the archive as a whole. */
export function refuseArchive(code: ErrorCode, sentence: string): ServiceError {
  return new ServiceError(code, sentence);
}

/**
 * Says what a body is that turned out not to be a tar. Pure.
 *
 * Asked only after the first block failed as a tar header: a tar may well begin
 * with a file called `PK...` or `BZh9`.
 */
import type { ServiceError } from '../domain/errors.ts';
import { refuseArchive } from './refusal.ts';

const SIGNATURES: readonly (readonly [format: string, signature: string])[] = [
  ['gzip', '\x1f\x8b'],
  ['xz', '\xfd7zXZ\x00'],
  ['zstd', '\x28\xb5\x2f\xfd'],
  ['bzip2', 'BZh'],
  ['lz4', '\x04\x22\x4d\x18'],
  ['lzip', 'LZIP'],
  ['compress', '\x1f\x9d'],
  ['zip', 'PK\x03\x04'],
  ['zip', 'PK\x05\x06'],
  ['7z', '7z\xbc\xaf\x27\x1c'],
];

/** Inside a gzip layer everything that is no tar is just that: only one layer is removed. */
export function explainNotATar(isInsideGzip: boolean): (firstBytes: Buffer) => ServiceError {
  return (firstBytes) => {
    if (isInsideGzip) return refuseArchive('not_a_tar', 'What the gzip stream holds is not a tar archive.');
    if (firstBytes.length === 0) return refuseArchive('not_a_tar', 'The project is empty: it has no bytes.');
    const start = firstBytes.toString('latin1', 0, 8);
    const format = SIGNATURES.find(([, signature]) => start.startsWith(signature))?.[0];
    if (format === 'gzip') {
      return refuseArchive(
        'unsupported_compression',
        'The project is compressed with gzip but announced as a plain tar.',
      );
    }
    if (format !== undefined) {
      return refuseArchive(
        'unsupported_compression',
        `The project is in ${format} format; send a tar or a gzipped tar.`,
      );
    }
    return refuseArchive('not_a_tar', 'The project is not a POSIX or GNU tar archive.');
  };
}

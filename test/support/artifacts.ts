/** Reads what a run left, as a client would: the files of its tar, by path. */
import { buffer } from 'node:stream/consumers';
import { extract } from 'tar-stream';
import type { Execution } from '../../src/domain/execution.ts';
import type { Executions } from '../../src/execution/executions.ts';

export interface LeftFile {
  readonly content: Buffer;
  readonly mode: number;
}

/** Every file in the tar of the execution. */
export async function filesLeft(executions: Executions, execution: Execution): Promise<Map<string, LeftFile>> {
  const tar = executions.artifacts.tar(execution);
  const bytes = await buffer(await tar.read(0, tar.bytes));
  if (bytes.length !== tar.bytes) throw new Error('the tar is not as long as was said');
  return filesOf(bytes);
}

/** The files of a tar; anything else in it is an error. */
export async function filesOf(tar: Uint8Array): Promise<Map<string, LeftFile>> {
  const files = new Map<string, LeftFile>();
  const extraction = extract();
  extraction.end(tar);
  for await (const entry of extraction) {
    if (entry.header.type !== 'file') throw new Error(`a ${String(entry.header.type)} among the artifacts`);
    files.set(entry.header.name, { content: await buffer(entry), mode: entry.header.mode ?? 0 });
  }
  return files;
}

/** The audit log of a state directory as its lines are, of one kind. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export function auditLines(stateDirectory: string, kind: string): readonly Record<string, unknown>[] {
  const directory = join(stateDirectory, 'audit');
  return readdirSync(directory)
    .filter((name) => name.endsWith('.jsonl'))
    .sort()
    .flatMap((name) => readFileSync(join(directory, name), 'utf8').trim().split('\n'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line['kind'] === kind);
}

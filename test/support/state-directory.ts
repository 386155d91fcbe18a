/** A state directory of its own for each service a test starts: two never share one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExecutionStore, type Retention } from '../../src/store/execution-store.ts';
import { StateDirectory } from '../../src/store/state-directory.ts';

/** A fresh directory and the way to be rid of it. */
export function temporaryStateDirectory(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'pyexec-state-'));
  return {
    path,
    remove: () => {
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** Keeps everything a test makes. */
const ROOMY: Retention = { ttlMs: 3_600_000, bytesMax: 2 ** 40, countMax: 10 ** 9 };

/** A store in a directory of its own. `remove` closes it, too. */
export function temporaryStore() {
  const { path, remove } = temporaryStateDirectory();
  const directory = StateDirectory.open(path);
  const store = new ExecutionStore(directory, ROOMY);
  return {
    store,
    directory,
    storage: { directoryOf: (id: string) => directory.executionDirectory(id) },
    remove: () => {
      store.close();
      directory.close();
      remove();
    },
  };
}

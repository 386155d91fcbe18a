/** Settings: what survives a restart. */
import { resolve } from 'node:path';
import { type SettingTable, text } from '../setting-schemas.ts';

export const STORAGE_SETTINGS = {
  PYEXEC_STATE_DIR: {
    schema: text.transform((path) => resolve(path)),
    fallback: undefined,
    about:
      'Directory of everything that survives a restart; made with mode 0700, on a local disk. Two servers never share one: the second does not start. Default: `/var/lib/pyexec` for root, otherwise `$XDG_STATE_HOME/pyexec` or `~/.local/state/pyexec`.',
  },
} as const satisfies SettingTable;

/** Where state is kept when nothing is said, for a process of this user. */
export function defaultStateDirectory(
  environment: Readonly<Record<string, string | undefined>>,
  user: { readonly isRoot: boolean; readonly home: string },
): string {
  if (user.isRoot) return '/var/lib/pyexec';
  const stateHome = environment['XDG_STATE_HOME'];
  // The XDG specification: a path that is not absolute is to be ignored.
  return resolve(stateHome?.startsWith('/') ? stateHome : resolve(user.home, '.local/state'), 'pyexec');
}

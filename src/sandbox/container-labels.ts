/**
 * The labels on every container of ours. The reaper knows its containers by
 * these and by nothing else.
 */
export const LABEL = {
  /** Which server owns the container; survives a restart of that server. */
  instance: 'pyexec.instance',
  /** Which process of that server started it. */
  boot: 'pyexec.boot',
  /** Unix seconds after which any server may remove it. */
  expires: 'pyexec.expires',
} as const;

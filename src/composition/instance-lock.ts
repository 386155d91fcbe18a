/**
 * One server of a name on a daemon: a second one would take the first one's containers for what a crash left behind,
 * and remove them in the middle of their runs.
 *
 * The lock is a listening socket in the kernel's own space of names: it leaves no file, and goes with its process,
 * however that ends. It holds among the servers of one machine that share a network namespace; for those in containers
 * of their own the names are the operator's to keep apart.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { ConfigError, type Config } from '../config/config.ts';

export interface InstanceLock {
  /** Gives the name up to the next server. */
  release(): void;
}

/** @throws {ConfigError} when another server has the name. */
export async function lockInstance({ PYEXEC_INSTANCE, PYEXEC_DOCKER_SOCKET }: Config): Promise<InstanceLock> {
  const daemon = createHash('sha256').update(PYEXEC_DOCKER_SOCKET).digest('hex').slice(0, 16);
  const server = createServer((connection) => connection.destroy());
  server.listen({ path: `\0pyexec/${daemon}/${PYEXEC_INSTANCE}` });
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw new ConfigError(
      `PYEXEC_INSTANCE: another server on this machine is called ${PYEXEC_INSTANCE}; give each a name of its own`,
      { cause },
    );
  }
  server.unref();
  return {
    release: () => {
      server.close();
    },
  };
}

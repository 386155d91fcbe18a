/**
 * What must be there before the service starts: refused at boot, with one sentence.
 */
import { readFileSync } from 'node:fs';
import { ConfigError, type Config } from '../config/config.ts';
import type { DockerDaemon } from '../sandbox/docker-daemon.ts';
import type { ImageStore } from '../sandbox/image-store.ts';

/**
 * The seccomp profile as the daemon wants it: JSON text.
 * @throws {ConfigError} when it is missing or is not a profile that refuses by default.
 */
export function readSeccompProfile(path: string): string {
  let profile: unknown;
  try {
    profile = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new ConfigError(`PYEXEC_SECCOMP_PROFILE: ${path} cannot be read as JSON`, { cause });
  }
  const isDenying =
    typeof profile === 'object' &&
    profile !== null &&
    'defaultAction' in profile &&
    profile.defaultAction === 'SCMP_ACT_ERRNO';
  if (!isDenying) throw new ConfigError(`PYEXEC_SECCOMP_PROFILE: ${path} does not refuse by default`);
  return JSON.stringify(profile);
}

/** @throws {ConfigError} when no daemon answers, or it lacks the runtime or the default image. */
export async function checkDaemon(config: Config, daemon: DockerDaemon, images: ImageStore): Promise<void> {
  let runtimes: readonly string[];
  try {
    runtimes = await daemon.runtimes();
  } catch (cause) {
    throw new ConfigError(`no Docker daemon answers at ${config.PYEXEC_DOCKER_SOCKET}`, { cause });
  }
  if (!runtimes.includes(config.PYEXEC_RUNTIME)) {
    throw new ConfigError(
      `PYEXEC_RUNTIME: the daemon has no runtime ${config.PYEXEC_RUNTIME}, only ${runtimes.join(', ')}`,
    );
  }
  try {
    await images.find(config.PYEXEC_DEFAULT_IMAGE);
  } catch (cause) {
    throw new ConfigError(
      `PYEXEC_DEFAULT_IMAGE: ${config.PYEXEC_DEFAULT_IMAGE} is not on this machine; run npm run setup`,
      {
        cause,
      },
    );
  }
}

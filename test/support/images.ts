/**
 * The sandbox images of the tests. They ask what holds in any image and take the small
 * one, whatever the operator's default is.
 */
import Docker from 'dockerode';
import { parseConfig } from '../../src/config/config.ts';

/** Of the default version of Python. */
export const SLIM = 'pyexec/slim:latest';

/**
 * The small image of each version of Python there is here: the default one, and 3.11 where `npm run images -- build
 * slim:3.11` made it.
 */
export async function slimImages(): Promise<readonly string[]> {
  const { PYEXEC_DOCKER_SOCKET } = parseConfig({});
  const listed = await new Docker({ socketPath: PYEXEC_DOCKER_SOCKET }).listImages();
  const older = 'pyexec/slim:3.11';
  return listed.some(({ RepoTags }) => RepoTags?.includes(older)) ? [SLIM, older] : [SLIM];
}

/** The whole set-up, for the scripts that begin with it. */

import { ensureDocker } from './docker-engine.mjs';
import { ensureImages } from './images.mjs';
import { ensurePackages } from './packages.mjs';

/** @param {{development?: boolean, rebuild?: boolean}} [options] */
export async function setUp({ development = true, rebuild = false } = {}) {
  await ensurePackages({ development });
  await ensureDocker();
  await ensureImages({ rebuild });
}

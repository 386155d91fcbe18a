/** deploy/systemd, as far as it can be judged without a running systemd. */
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, which } from '../../scripts/setup/host.mjs';
import { SETTINGS } from '../../src/config/config.ts';

const FOLDER = join(ROOT, 'deploy', 'systemd');
const EXPOSURE_MAX = 2;
const tool = which('systemd-analyze');

const analyze = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(tool ?? '', args, { encoding: 'utf8' });
  return { status, printed: `${stdout}${stderr}` };
};

describe('deploy/systemd', () => {
  it.skipIf(tool === undefined)('the units are understood, every line of them', () => {
    const units = readdirSync(FOLDER).filter((file) => !file.endsWith('.json'));
    const { status, printed } = analyze('verify', '--man=no', ...units.map((file) => join(FOLDER, file)));
    expect(printed).not.toMatch(/pyexec|sandboxes/);
    expect(status).toBe(0);
  });

  it.skipIf(tool === undefined)('the service is confined', () => {
    const { printed } = analyze('security', '--offline=yes', join(FOLDER, 'pyexec.service'));
    expect(Number(/exposure level for pyexec\.service: ([\d.]+)/.exec(printed)?.[1] ?? 10)).toBeLessThan(EXPOSURE_MAX);
  });

  it('the settings in deploy/ are settings', () => {
    for (const file of ['deploy/pyexec.env', 'deploy/systemd/pyexec.service', 'docker-compose.yml', 'Dockerfile']) {
      const named = readFileSync(join(ROOT, file), 'utf8').match(/\bPYEXEC_[A-Z_]+(?=[=:])/g) ?? [];
      expect(
        named.filter((name) => !Object.hasOwn(SETTINGS, name)),
        file,
      ).toEqual([]);
      expect(named.length, file).toBeGreaterThan(1);
    }
  });
});

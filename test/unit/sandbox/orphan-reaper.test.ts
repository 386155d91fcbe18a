/** Which containers nobody owns, and that only those go. */
import { describe, expect, test } from 'vitest';
import { LABEL } from '../../../src/sandbox/container-labels.ts';
import { DaemonError } from '../../../src/sandbox/daemon-calls.ts';
import { type ContainerSummary, type DockerDaemon } from '../../../src/sandbox/docker-daemon.ts';
import { isOrphan, OrphanReaper } from '../../../src/sandbox/orphan-reaper.ts';

const NOW = 1_800_000_000;
const SOON = String(NOW + 1000);
const LONG_AGO = String(NOW - 1000);

function container(labels: Record<string, string>, ageS = 0): ContainerSummary {
  return { id: 'c', name: 'pyexec-1', labels, createdAtS: NOW - ageS };
}
const labels = (instance: string, boot: string, expires: string) => ({
  [LABEL.instance]: instance,
  [LABEL.boot]: boot,
  [LABEL.expires]: expires,
});

test.each<[string, ContainerSummary, boolean, boolean]>([
  ['ours, in use', container(labels('me', 'now', SOON), 500), true, false],
  [
    'ours, in use, past its expiry: its run knows its own limits',
    container(labels('me', 'now', LONG_AGO), 5000),
    true,
    false,
  ],
  ['ours, of an earlier process', container(labels('me', 'before', SOON)), false, true],
  ['ours, of an earlier process, with a name in use', container(labels('me', 'before', SOON)), true, true],
  ['ours, not in the registry, just made', container(labels('me', 'now', SOON), 30), false, false],
  ['ours, not in the registry, for a minute', container(labels('me', 'now', SOON), 61), false, true],
  ['another server’s', container(labels('you', 'before', SOON), 5000), false, false],
  ['another server’s, just expired: clocks differ', container(labels('you', 'before', String(NOW - 59))), false, false],
  ['another server’s, expired', container(labels('you', 'before', String(NOW - 61))), false, true],
  ['another server’s, with an expiry that is none', container(labels('you', 'before', 'soon')), false, false],
  ['another server’s, without expiry', container({ [LABEL.instance]: 'you' }, 99_999), false, false],
  ['another server’s, with an empty expiry', container(labels('you', 'x', '')), false, false],
  ['another server’s, with a negative expiry', container(labels('you', 'x', '-5')), false, false],
  ['one whose instance only begins like ours', container(labels('me2', 'before', SOON)), false, false],
  ['without labels', container({}, 99_999), false, false],
  ['with the other labels but no instance', container({ [LABEL.boot]: 'before', [LABEL.expires]: '1' }), false, false],
])('%s', (_, subject, isLive, expected) => {
  expect(isOrphan(subject, { instance: 'me', boot: 'now', nowS: NOW, isLive })).toBe(expected);
});

describe('a sweep', () => {
  const soon = String(Date.now() / 1000 + 10_000);
  const orphan = (id: string): ContainerSummary => ({
    id,
    name: id,
    labels: labels('me', 'before', soon),
    createdAtS: 0,
  });

  function reaperOn(daemon: Pick<DockerDaemon, 'listByLabel' | 'remove'>, live = new Set<string>()) {
    const reaped: string[] = [];
    const errors: unknown[] = [];
    const reaper = new OrphanReaper({
      daemon: daemon as DockerDaemon,
      instance: 'me',
      boot: 'now',
      intervalMs: 5,
      liveNames: () => new Set(live),
      observe: (event) => {
        if (event.kind === 'orphan_reaped') reaped.push(event.containerId);
      },
      onError: (error) => errors.push(error),
    });
    return { reaper, reaped, errors };
  }

  test('goes on after one that cannot be removed, and counts those that were', async () => {
    const { reaper, reaped, errors } = reaperOn({
      listByLabel: () => Promise.resolve([orphan('a'), orphan('stuck'), orphan('b')]),
      remove: (id) => (id === 'stuck' ? Promise.reject(new DaemonError('remove', 'busy', 500)) : Promise.resolve()),
    });
    expect(await reaper.sweep()).toBe(2);
    expect(reaped).toEqual(['a', 'b']);
    expect(errors).toHaveLength(1);
  });

  test('leaves what was made, or removed by its owner, while the list was on its way', async () => {
    const ours = (id: string): ContainerSummary => ({ ...orphan(id), labels: labels('me', 'now', soon) });
    const live = new Set(['removed']);
    const { reaper, reaped } = reaperOn(
      {
        listByLabel: () => {
          live.delete('removed');
          live.add('made');
          return Promise.resolve([ours('removed'), ours('made'), ours('lost')]);
        },
        remove: () => Promise.resolve(),
      },
      live,
    );
    await reaper.sweep();
    expect(reaped).toEqual(['lost']);
  });

  test('asked for while one is under way is the same one', async () => {
    let lists = 0;
    const { reaper } = reaperOn({
      listByLabel: async () => {
        lists += 1;
        await new Promise((resolve) => setTimeout(resolve, 5));
        return [];
      },
      remove: () => Promise.resolve(),
    });
    await Promise.all([reaper.sweep(), reaper.sweep()]);
    expect(lists).toBe(1);
    await reaper.sweep();
    expect(lists).toBe(2);
  });

  test('at the interval goes on after failures, until it is stopped', async () => {
    let lists = 0;
    const { reaper, errors } = reaperOn({
      listByLabel: () => {
        lists += 1;
        return Promise.reject(new DaemonError('list', 'down', undefined));
      },
      remove: () => Promise.resolve(),
    });
    reaper.start();
    while (lists < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    reaper.stop();
    await new Promise((resolve) => setTimeout(resolve, 5));
    const stopped = lists;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(lists).toBe(stopped);
    expect(errors.length).toBeGreaterThanOrEqual(3);
  });
});

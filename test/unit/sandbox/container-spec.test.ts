/**
 * What no probe inside a sandbox can see: that nothing of a request reaches the
 * create call except through the shape, and that the daemon's own defaults are
 * not relied on. What a program can see is tested by behaviour in test/integration.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SandboxShape } from '../../../src/domain/plan.ts';
import { containerSpec } from '../../../src/sandbox/container-spec.ts';

const SHAPE: SandboxShape = {
  image: 'pyexec/slim:latest',
  imageId: 'sha256:aa',
  runtime: 'runsc',
  network: 'none',
  memoryBytes: 64 << 20,
  pids: 32,
  cpus: 0.5,
  workBytes: 32 << 20,
  tmpBytes: 8 << 20,
  preimports: [],
};
const spec = (shape: Partial<SandboxShape> = {}) =>
  containerSpec(
    { ...SHAPE, ...shape },
    { name: 'pyexec-x', labels: { a: 'b' }, uid: 10_007 },
    { seccompProfile: '{"p":1}', command: ['python3'], openFilesMax: 99, dnsServers: [] },
  );

test('the image is named by its content, so that a tag moved meanwhile changes nothing', () => {
  expect(spec().Image).toBe(SHAPE.imageId);
});

test('logs are kept nowhere, the container outlives its process until we remove it, and nothing restarts it', () => {
  expect(spec().HostConfig).toMatchObject({
    LogConfig: { Type: 'none' },
    AutoRemove: false,
    RestartPolicy: { Name: 'no' },
  });
});

test('nothing of the host is mounted, published or shared', () => {
  expect(spec().HostConfig).toMatchObject({
    Binds: [],
    Devices: [],
    CapAdd: [],
    CapDrop: ['ALL'],
    Privileged: false,
    PublishAllPorts: false,
    PidMode: '',
    UTSMode: '',
    IpcMode: 'private',
    CgroupnsMode: 'private',
  });
});

test('the runtime is the one the operator chose, not the daemon’s default', () => {
  expect(spec().HostConfig?.Runtime).toBe('runsc');
});

test('there is no swap, whatever the memory', () => {
  fc.assert(
    fc.property(fc.integer({ min: 32 << 20, max: 2 ** 40 }), (memoryBytes) => {
      const host = spec({ memoryBytes }).HostConfig;
      expect(host?.MemorySwap).toBe(memoryBytes);
      expect(host?.Memory).toBe(memoryBytes);
    }),
  );
});

test('every tmpfs is bounded in bytes and in inodes, and belongs to the sandbox’s own uid', () => {
  const mounts: Record<string, string> = spec().HostConfig?.Tmpfs as Record<string, string>;
  expect(Object.keys(mounts)).toEqual(['/work', '/tmp']);
  for (const options of Object.values(mounts)) {
    expect(options.split(',')).toEqual(expect.arrayContaining(['nosuid', 'nodev', 'uid=10007', 'gid=10007']));
    expect(options).toMatch(/,size=\d+,nr_inodes=\d+,/);
  }
});

test('the user is numeric: an image’s own passwd cannot make it root', () => {
  expect(spec().User).toBe('10007:10007');
});

test('caller-independent: two containers of one shape differ in name, labels and uid only', () => {
  const other = containerSpec(
    SHAPE,
    { name: 'pyexec-y', labels: {}, uid: 10_007 },
    { seccompProfile: '{"p":1}', command: ['python3'], openFilesMax: 99, dnsServers: [] },
  );
  expect({ ...other, name: '', Labels: {} }).toEqual({ ...spec(), name: '', Labels: {} });
});

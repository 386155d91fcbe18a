/**
 * An analyzer has every guard of a sandbox, and what reads hostile sources in it cannot
 * speak for it. The probe runs as PID 1's own code inside a real analyzer, in place of
 * the analysis. Control: the same probe reaches the decoy in a container with a network.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { analyzerCommand } from '../../../src/analysis/analyzer/analyzer-session.ts';
import frameTypes from '../../../src/analysis/analyzer/frame-types.json' with { type: 'json' };
import { parseConfig } from '../../../src/config/config.ts';
import { SandboxHost } from '../../../src/sandbox/cold-start.ts';
import { DockerDaemon } from '../../../src/sandbox/docker-daemon.ts';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe, type Facts } from '../../support/isolation-probe.ts';
import { docker } from '../../support/isolation-sandbox.ts';

const MIB = 1 << 20;
const GVISOR = 'runsc';
const info = (await docker.info()) as { Runtimes?: Record<string, unknown> };
const hasGvisor = Object.hasOwn(info.Runtimes ?? {}, GVISOR);
const config = parseConfig({});
const host = new SandboxHost({
  daemon: new DockerDaemon({ socketPath: config.PYEXEC_DOCKER_SOCKET, observe: () => undefined }),
  settings: {
    seccompProfile: JSON.stringify(JSON.parse(readFileSync(config.PYEXEC_SECCOMP_PROFILE, 'utf8'))),
    command: [],
    openFilesMax: 1024,
    dnsServers: [],
  },
  instance: `test-${randomUUID()}`,
  concurrentStarts: 2,
  lifetimeMsMax: 300_000,
  observe: () => undefined,
});

let bridgeAddress: string;
const decoy = createServer((socket) => socket.end('decoy'));
beforeAll(async () => {
  type Network = { IPAM: { Config: { Gateway?: string; Subnet?: string }[] } };
  const { Gateway, Subnet = '' } = ((await docker.getNetwork('bridge').inspect()) as Network).IPAM.Config[0] ?? {};
  bridgeAddress = Gateway ?? Subnet.replace(/\.0\/\d+$/, '.1');
  decoy.listen(0, '0.0.0.0');
  await once(decoy, 'listening');
});
afterAll(async () => {
  decoy.close();
  await host.settled();
});

async function factsInAnalyzer(statements: string, runtime = 'runc'): Promise<Facts> {
  const [python = '', ...rest] = analyzerCommand();
  const source = rest.pop() ?? '';
  const replaced = source.replace(
    '\n    main()\n',
    `
    import contextlib, io
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(${JSON.stringify(probe(statements))}, {'__name__': 'probe'})
    send('FAILED', json.loads(said.getvalue()))
`,
  );
  expect(replaced).not.toBe(source);
  const { container, release } = await host.startTool(
    {
      ...{ image: 'pyexec/analyzer', imageId: 'pyexec/analyzer:latest', runtime, network: 'none' },
      ...{ memoryBytes: 256 * MIB, pids: 256, cpus: 1, workBytes: 2 * MIB, tmpBytes: MIB, preimports: [] },
    },
    [python, ...rest, replaced],
  );
  try {
    for await (const { type, payload } of container.frames()) {
      expect(type).toBe(frameTypes.FAILED);
      return JSON.parse(payload.toString('utf8')) as Facts;
    }
  } finally {
    await release();
  }
  throw new Error('the probe said nothing');
}

const reach = () => `
import socket
def tcp():
    with socket.create_connection((${JSON.stringify(bridgeAddress)}, ${String((decoy.address() as AddressInfo).port)}), timeout=3) as connection:
        facts['said'] = connection.recv(10).decode()
attempt('tcp', tcp)
`;

it('an analyzer reaches nobody; a container with a network reaches the decoy', async () => {
  expect((await factsInAnalyzer(reach()))['tcp']).toMatch(/^(ENETUNREACH|EADDRNOTAVAIL)$/);
  const control = await controlFacts(probe(reach()), { without: [], network: 'bridge' });
  expect(control).toMatchObject({ tcp: 'done', said: 'decoy' });
});

it('it has the guards of a sandbox, and nothing of anybody', async () => {
  const facts = await factsInAnalyzer(`
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
for name in ('CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp'): facts[name] = status[name].strip()
facts['root'] = os.getuid() == 0
facts['work'] = sorted(os.listdir('/work'))
for path in ('/', '/etc', '/usr/lib/python3/dist-packages'):
    attempt('write ' + path, lambda: open(os.path.join(path, 'x'), 'w'))
attempt('write /work', lambda: open('/work/x', 'w'))
attempt('namespaces', lambda: syscall(272, 97, 0x10000000))
facts['git'] = [tool for tool in ('git', 'curl', 'wget', 'gcc') if subprocess.run(['which', tool], stdout=subprocess.DEVNULL).returncode == 0]
`);
  expect(facts).toEqual({
    CapEff: '0000000000000000',
    CapBnd: '0000000000000000',
    NoNewPrivs: '1',
    Seccomp: '2',
    root: false,
    work: [],
    'write /': 'EROFS',
    'write /etc': 'EROFS',
    'write /usr/lib/python3/dist-packages': 'EROFS',
    'write /work': 'done',
    namespaces: 'EPERM',
    git: [],
  });
});

/** What the process that reads the sources may do to PID 1. */
const FROM_THE_READER = `
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    facts.clear()
    attempt('frames', lambda: opened('/proc/1/fd/1', os.O_WRONLY))
    attempt('memory', lambda: opened('/proc/1/mem', os.O_RDWR))
    attempt('trace', lambda: syscall(101, 117, 16, 1, 0, 0))
    attempt('own', lambda: opened('/proc/self/fd/%d' % write, os.O_WRONLY))
    os.write(write, json.dumps(facts).encode())
    os._exit(0)
os.waitpid(pid, 0)
facts.update(json.loads(os.read(read, 10000)))
`;

it('what reads the sources has no way to the frames of PID 1, nor to its memory', async () => {
  const facts = await factsInAnalyzer(FROM_THE_READER);
  expect(facts['frames']).toBe('EACCES');
  expect(facts['memory']).toBe('EACCES');
  expect(facts['trace']).toBe('EPERM');
});

describe.skipIf(!hasGvisor)('under gVisor', () => {
  it('an analyzer reaches nobody, has no capability and changes nothing of its image', async () => {
    // Without a control: the runtime may have been set up without any network at all.
    expect((await factsInAnalyzer(reach(), GVISOR))['tcp']).toMatch(/^E(NET|HOST)UNREACH$/);
    const facts = await factsInAnalyzer(
      `
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
for name in ('CapEff', 'CapBnd'): facts[name] = status[name].strip()
facts['root'] = os.getuid() == 0
for path in ('/', '/etc', '/usr/lib/python3/dist-packages'):
    attempt('write ' + path, lambda: open(os.path.join(path, 'x'), 'w'))
`,
      GVISOR,
    );
    expect(facts).toEqual({
      CapEff: '0000000000000000',
      CapBnd: '0000000000000000',
      root: false,
      'write /': 'EACCES',
      'write /etc': 'EACCES',
      'write /usr/lib/python3/dist-packages': 'EACCES',
    });
  });

  // docs/SECURITY.md says so; when gVisor closes it, this fails and the sentence goes.
  it('difference: what reads the sources can write frames of PID 1, though not its memory', async () => {
    expect(await factsInAnalyzer(FROM_THE_READER, GVISOR)).toMatchObject({
      frames: 'done',
      memory: 'EACCES',
      trace: 'EPERM',
    });
  });
});

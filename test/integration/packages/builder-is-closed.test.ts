/**
 * D11 A builder has nothing of the caller's, no network but the index, and every
 * guard of a sandbox. The probe runs as PID 1's own code inside a real builder, in
 * place of the installer, with the way out it has in the service. Controls: the index
 * answers through the proxy; the same probe reaches the decoy in a container with a
 * network.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../../src/config/config.ts';
import { buildInContainer, builderCommand } from '../../../src/dependencies/builder/builder-session.ts';
import { ServiceError } from '../../../src/domain/errors.ts';
import { EgressGate, type EgressAccess } from '../../../src/egress/egress-gate.ts';
import { SandboxHost } from '../../../src/sandbox/cold-start.ts';
import { DockerDaemon } from '../../../src/sandbox/docker-daemon.ts';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe, type Facts } from '../../support/isolation-probe.ts';
import { docker } from '../../support/isolation-sandbox.ts';
import { startLayerEngine } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { wheel } from '../../support/wheels.ts';

const MIB = 1 << 20;
const config = parseConfig({});
const daemon = new DockerDaemon({ socketPath: config.PYEXEC_DOCKER_SOCKET, observe: () => undefined });
const host = new SandboxHost({
  daemon,
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

let index: PackageIndex;
let bridgeAddress: string;
const decoy = createServer((socket) => socket.end('decoy'));
let decoyPort: number;
beforeAll(async () => {
  index = await PackageIndex.open(wheel({ name: 'fine' }));
  type Network = { IPAM: { Config: { Gateway?: string; Subnet?: string }[] } };
  const { Gateway, Subnet = '' } = ((await docker.getNetwork('bridge').inspect()) as Network).IPAM.Config[0] ?? {};
  // A daemon that was started anew tells the subnet alone, whose first address is the bridge's.
  bridgeAddress = Gateway ?? Subnet.replace(/\.0\/\d+$/, '.1');
  expect(bridgeAddress).toMatch(/^[\d.]+$/);
  decoy.listen(0, '0.0.0.0');
  await once(decoy, 'listening');
  decoyPort = (decoy.address() as AddressInfo).port;
});
afterAll(async () => {
  decoy.close();
  await host.settled();
  await index[Symbol.asyncDispose]();
});

/** What a probe finds in a builder; it may use `proxy`, the port of the way out. */
async function factsInBuilder(statements: string): Promise<{ facts: Facts; log: EgressAccess[] }> {
  const [python = '', ...rest] = builderCommand();
  const source = rest.pop() ?? '';
  const replaced = source.replace(
    '\nMain().run()',
    `
def probing(self):
    import contextlib, io
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(${JSON.stringify(probe(statements))}, {'__name__': 'probe', 'proxy': int(self.proxy.rpartition(':')[2]), 'job': self.job})
    raise Failure('pip', said.getvalue())
Builder.build = probing
Main().run()`,
  );
  expect(replaced).not.toBe(source);
  const { container, release } = await host.startTool(
    {
      image: 'pyexec/builder',
      imageId: 'pyexec/builder:latest',
      runtime: 'runc',
      network: 'none',
      memoryBytes: 512 * MIB,
      pids: 64,
      cpus: 1,
      workBytes: 64 * MIB,
      tmpBytes: 16 * MIB,
      preimports: [],
    },
    [python, ...rest, replaced],
  );
  const log: EgressAccess[] = [];
  const gate = new EgressGate(
    {
      allowed: [{ host: '127.0.0.1', port: index.port }],
      allowsPrivateAddresses: true,
      bytesMax: MIB,
      bytesSentMax: MIB,
    },
    (access) => log.push(access),
  );
  try {
    await buildInContainer(
      {
        send: (type, payload) => {
          container.send(type, payload);
        },
        frames: () => container.frames(),
        release,
      },
      {
        accept: (stream) => {
          gate.accept(stream);
        },
        failed: false,
        overflowed: false,
        close: () => undefined,
      },
      {
        requirements: ['fine'],
        constraints: [],
        present: {},
        indexUrl: index.url,
        indexHosts: [],
        packagesMax: 1,
        bytesMax: 1,
        filesMax: 1,
      },
      { agree: () => false, readTree: () => Promise.reject(new Error('nothing is installed')) },
    );
  } catch (error) {
    if (error instanceof ServiceError && typeof error.cause === 'string') {
      return { facts: JSON.parse(error.cause.trim().split('\n').at(-1) ?? '') as Facts, log };
    }
    throw error;
  } finally {
    gate.close();
    await release();
  }
  throw new Error('the probe said nothing');
}

const reach = (addresses: readonly string[], port: number) => `
import socket
def tcp(address, port):
    with socket.create_connection((address, port), timeout=3) as connection: facts['said ' + address] = connection.recv(10).decode()
for address in ${JSON.stringify(addresses)}:
    attempt('tcp ' + address, lambda: tcp(address, ${String(port)}))
attempt('name', lambda: socket.getaddrinfo('example.com', 443))
`;

describe('D11 a builder', () => {
  it('reaches no address by itself; a container with a network reaches the decoy', async () => {
    const addresses = [bridgeAddress, '1.1.1.1', '169.254.169.254', '10.0.0.1', '2606:4700::1111'];
    const { facts, log } = await factsInBuilder(reach(addresses, decoyPort));
    for (const address of addresses) {
      expect.soft(facts[`tcp ${address}`], address).toMatch(/^(ENETUNREACH|EADDRNOTAVAIL)$/);
    }
    expect(facts['name']).toContain('gaierror');
    expect(log).toEqual([]);

    const control = await controlFacts(probe(reach([bridgeAddress], decoyPort)), { without: [], network: 'bridge' });
    expect(control).toMatchObject({ [`tcp ${bridgeAddress}`]: 'done', [`said ${bridgeAddress}`]: 'decoy' });
  });

  it('reaches through the proxy the index, and no other place or port', async () => {
    const targets = [
      `127.0.0.1:${String(decoyPort)}`,
      `${bridgeAddress}:${String(decoyPort)}`,
      `localhost:${String(index.port)}`,
      '169.254.169.254:80',
      '1.1.1.1:443',
      'example.com:443',
    ];
    const { facts, log } = await factsInBuilder(`
import socket
def ask(line):
    with socket.create_connection(('127.0.0.1', proxy), timeout=10) as connection:
        connection.sendall((line + ' HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n').encode())
        answer = b''
        while True:
            part = connection.recv(65536)
            if not part: return answer.decode()
            answer += part
            if line.startswith('CONNECT') and b'\\r\\n\\r\\n' in answer: return answer.decode()
for target in ${JSON.stringify(targets)}:
    facts['connect ' + target] = ask('CONNECT ' + target).split()[1]
    facts['get ' + target] = ask('GET http://' + target + '/').split()[1]
facts['index'] = ask('GET http://127.0.0.1:${String(index.port)}/simple/fine/')
facts['tunnel'] = ask('CONNECT 127.0.0.1:${String(index.port)}').split()[1]
`);
    for (const target of targets) {
      expect.soft(facts[`connect ${target}`], target).toBe('403');
      expect.soft(facts[`get ${target}`], target).toBe('403');
    }
    expect(facts['index']).toContain('fine-1.0-py3-none-any.whl');
    expect(facts['tunnel']).toBe('200');
    expect(log.filter(({ verdict }) => verdict === 'refused')).toHaveLength(2 * targets.length);
  });

  it('has the guards of a sandbox, and nothing of anybody', async () => {
    const { facts } = await factsInBuilder(`
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
for name in ('CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp'): facts[name] = status[name].strip()
facts['work'] = sorted(os.listdir('/work'))
facts['root'] = os.getuid() == 0
for path in ('/', '/usr/local/lib', '/etc', '/usr/lib/python3/dist-packages'):
    attempt('write ' + path, lambda: open(os.path.join(path, 'x'), 'w'))
attempt('write /work', lambda: open('/work/x', 'w'))
facts['environment'] = sorted(set(os.environ) - {'PATH', 'HOME', 'LANG', 'USER', 'PYTHONUNBUFFERED', 'HOSTNAME', 'MPLCONFIGDIR', 'XDG_CACHE_HOME'})
facts['job'] = sorted(job)
facts['sockets'] = [path for path in ('/var/run/docker.sock', '/run/docker.sock') if os.path.exists(path)]
attempt('namespaces', lambda: syscall(272, 97, 0x10000000))
attempt('own descriptors', lambda: subprocess.run([sys.executable, '-c', 'open("/proc/1/fd/1", "wb")'], check=True, stderr=subprocess.DEVNULL))
`);
    expect(facts).toMatchObject({
      CapEff: '0000000000000000',
      CapBnd: '0000000000000000',
      NoNewPrivs: '1',
      Seccomp: '2',
      root: false,
      'write /': 'EROFS',
      'write /usr/local/lib': 'EROFS',
      'write /etc': 'EROFS',
      'write /usr/lib/python3/dist-packages': 'EROFS',
      'write /work': 'done',
      environment: [],
      work: [],
      sockets: [],
      namespaces: 'EPERM',
      'own descriptors': 'CalledProcessError',
    });
    expect(facts['job']).toEqual([
      'bytes_max',
      'constraints',
      'files_max',
      'hosts',
      'index',
      'present',
      'requirements',
    ]);
  });

  it('and the run that uses its work has no network at all', async () => {
    await using engine = await startLayerEngine(index);
    const program = probe(`
import fine
facts['version'] = fine.VERSION
${reach([bridgeAddress, '127.0.0.1'], decoyPort)}
def index(): 
    socket.create_connection(('127.0.0.1', ${String(index.port)}), timeout=3)
attempt('index', index)
`);
    const execution = await engine.run(program, { requirements: 'fine' });
    expect(execution.stderr).toBe('');
    expect(JSON.parse(execution.stdout ?? '')).toMatchObject({
      version: '1.0',
      [`tcp ${bridgeAddress}`]: 'ENETUNREACH',
      'tcp 127.0.0.1': 'ECONNREFUSED',
      index: 'ECONNREFUSED',
      name: expect.stringContaining('gaierror') as string,
    });
  });
});

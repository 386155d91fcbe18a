/**
 * No packet leaves a sandbox: not to the internet, the metadata service of a
 * cloud, the host, the neighbours, nor to what listens on the host's loopback or
 * its abstract sockets. Control: the same client on a Docker network, or in the
 * network namespace of the listener, gets through.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlFacts, startControl, type Control } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { docker, sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();
const PORT = 18_080;
const ABSTRACT_NAME = 'pyexec-isolation-test';

/** Stands for a service on the host's network: TCP on every address, and an abstract Unix socket. */
const LISTENER = `
import socket, time
tcp = socket.create_server(('0.0.0.0', ${String(PORT)}))
unix = socket.socket(socket.AF_UNIX)
unix.bind('\\0${ABSTRACT_NAME}')
unix.listen()
print('listening', flush=True)
time.sleep(120)
`;

function client(addresses: readonly string[]): string {
  return probe(`
import socket
def tcp(address, port):
    socket.create_connection((address, port), timeout=3).close()
for address in ${JSON.stringify(addresses)}:
    attempt('tcp ' + address, lambda: tcp(address, ${String(PORT)}))
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b'x', (${JSON.stringify(addresses[0])}, 53))
attempt('udp', udp)
def abstract():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect('\\0${ABSTRACT_NAME}')
attempt('abstract socket', abstract)
facts['interfaces'] = sorted(line.split(':')[0].strip() for line in open('/proc/net/dev').read().splitlines()[2:])
facts['routes'] = len(open('/proc/net/route').read().splitlines()) - 1
facts['abstract sockets'] = open('/proc/net/unix').read().count('@')
`);
}

describe('network', () => {
  let listener: Control;
  let address: string;
  let gateway: string;

  beforeAll(async () => {
    listener = await startControl(LISTENER, { without: [], network: 'bridge' });
    await listener.printed('listening');
    const { NetworkSettings } = await docker.getContainer(listener.id).inspect();
    const bridge = NetworkSettings.Networks['bridge'];
    address = bridge?.IPAddress ?? '';
    gateway = bridge?.Gateway ?? '';
    expect(address).not.toBe('');
  });
  afterAll(async () => {
    await listener.remove();
  });

  it('E23 no address can be reached: internet, metadata service, host, other containers', async () => {
    const addresses = [
      address,
      gateway,
      '1.1.1.1',
      '8.8.8.8',
      '169.254.169.254',
      '10.0.0.1',
      '192.168.0.1',
      '::2',
      '2606:4700::1111',
    ];
    const facts = await sandbox.facts(client(addresses));
    for (const target of addresses)
      expect.soft(facts[`tcp ${target}`], target).toMatch(/^(ENETUNREACH|EADDRNOTAVAIL)$/);
    expect(facts).toMatchObject({ udp: 'ENETUNREACH', routes: 0 });
    expect(
      (facts['interfaces'] as string[]).filter(
        (name) => !/^(lo|tunl0|sit0|ip6tnl0|gre0|gretap0|erspan0|ip_vti0|ip6_vti0|ip6gre0|ifb\d)$/.test(name),
      ),
    ).toEqual([]);

    const control = await controlFacts(client([address]), { without: [], network: 'bridge' });
    expect(control).toMatchObject({ [`tcp ${address}`]: 'done', udp: 'done' });
    expect(control['interfaces']).toContain('eth0');
  });

  it('E24 loopback and abstract sockets are the sandbox’s own', async () => {
    const facts = await sandbox.facts(client(['127.0.0.1', '::1']));
    expect(facts).toMatchObject({
      'tcp 127.0.0.1': 'ECONNREFUSED',
      'abstract socket': 'ECONNREFUSED',
      'abstract sockets': 0,
    });
    expect(facts['tcp ::1']).toMatch(/^(ECONNREFUSED|EADDRNOTAVAIL)$/);

    const control = await controlFacts(client(['127.0.0.1']), { without: [], network: `container:${listener.id}` });
    expect(control).toMatchObject({ 'tcp 127.0.0.1': 'done', 'abstract socket': 'done' });
  });

  it('E23 a name is refused at once, without a resolver being waited for', async () => {
    const resolve = probe(`
import socket
began = time.monotonic()
attempt('resolve', lambda: socket.getaddrinfo('example.com', 443))
facts['in time'] = time.monotonic() - began < 1
`);
    expect(await sandbox.facts(resolve)).toEqual({
      resolve: expect.stringContaining('gaierror') as string,
      'in time': true,
    });
  });

  it('E23 a request that asks for network is refused, not run without', async () => {
    await expect(sandbox.run('pass', { wantsNetwork: true })).rejects.toMatchObject({ code: 'network_not_allowed' });
  });

  it('E24 two sandboxes do not meet on loopback', async () => {
    const [server, visitor] = await Promise.all([
      sandbox.run(
        `import socket; s = socket.create_server(('127.0.0.1', ${String(PORT)})); s.settimeout(2)\ntry: s.accept(); print('met')\nexcept TimeoutError: print('alone')`,
      ),
      sandbox.run(
        `import socket, time\nfor _ in range(15):\n  try: socket.create_connection(('127.0.0.1', ${String(PORT)})); print('met')\n  except OSError: time.sleep(0.1)`,
      ),
    ]);
    expect(server).toMatchObject({ stdout: 'alone\n', exit_code: 0 });
    expect(visitor).toMatchObject({ stdout: '', exit_code: 0 });
  });
});

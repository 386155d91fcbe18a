/**
 * Sockets of the three families a Python program needs, and of no other: netlink,
 * packet, vsock and ALG are ways to kernel code, not to a network.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe, type Facts } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const FAMILIES = probe(`
import socket
def made(domain, kind, protocol=0):
    return lambda: socket.socket(domain, kind, protocol).close()
for domain in range(0, 47):
    outcomes = {outcome(made(domain, kind)) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)}
    facts[str(domain)] = 'done' if 'done' in outcomes else '/'.join(sorted(outcomes))
    facts['pair %d' % domain] = outcome(lambda: socket.socketpair(domain)) if domain else 'EPERM'
attempt('raw IPv4', made(2, socket.SOCK_RAW, 1))
attempt('raw IPv6', made(10, socket.SOCK_RAW, 58))
attempt('raw packet', made(17, socket.SOCK_RAW, 0))
attempt('raw netlink', made(16, socket.SOCK_RAW, 0))
`);

const ALLOWED = new Set([1, 2, 10]);
const REFUSED = { AF_KEY: 15, AF_NETLINK: 16, AF_PACKET: 17, AF_RDS: 21, AF_BLUETOOTH: 31, AF_ALG: 38, AF_VSOCK: 40 };

describe('socket families', () => {
  let inside: Facts;
  let control: Facts;

  beforeAll(async () => {
    inside = await sandbox.facts(FAMILIES);
    control = await controlFacts(FAMILIES, { without: ['seccomp', 'no_capabilities', 'unprivileged_user'] });
  });

  it('E07 only AF_UNIX, AF_INET and AF_INET6 of 47 can be made', () => {
    for (let domain = 0; domain < 47; domain += 1) {
      const expected = ALLOWED.has(domain) ? 'done' : 'EPERM';
      expect.soft(inside[String(domain)], `family ${String(domain)}`).toBe(expected);
    }
  });

  it('E07 socketpair makes none of the others either', () => {
    for (let domain = 0; domain < 47; domain += 1) {
      if (ALLOWED.has(domain)) continue;
      expect.soft(inside[`pair ${String(domain)}`], `family ${String(domain)}`).toBe('EPERM');
    }
  });

  it.for(Object.entries(REFUSED))('E07 E25 control for %s', ([name, domain], { skip }) => {
    const outcome = control[String(domain)];
    skip(!String(outcome).includes('done'), `this kernel has no ${name} (${String(outcome)}), so there is no control`);
    expect(outcome).toBe('done');
  });

  it('E25 raw, packet and netlink sockets are refused', () => {
    for (const kind of ['raw IPv4', 'raw IPv6', 'raw packet', 'raw netlink']) {
      expect.soft(inside[kind], kind).toBe('EPERM');
      expect.soft(control[kind], `control: ${kind}`).toBe('done');
    }
  });
});

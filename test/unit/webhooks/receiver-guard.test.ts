/** Which URLs and addresses may be sent to, however they are written. */
import { describe, expect, test } from 'vitest';
import { ReceiverGuard, ReceiverRefused, type ReceiverRules } from '../../../src/webhooks/receiver-guard.ts';

const RULES: ReceiverRules = { allowsHttp: false, ports: [443], allowed: [] };
const guard = (rules: Partial<ReceiverRules> = {}, ...addresses: string[]) =>
  new ReceiverGuard({ ...RULES, ...rules }, () => Promise.resolve(addresses));
const refused = expect.objectContaining({ code: 'invalid_webhook' }) as unknown;

describe('a URL', () => {
  test.each([
    'http://example.com/',
    'ftp://example.com/',
    'file:///etc/passwd',
    'javascript:alert(1)',
    '/relative',
    '',
    'https://user@example.com/',
    'https://user:secret@example.com/',
    'https://example.com:22/',
    'https://example.com:80/',
    `https://example.com/${'a'.repeat(2048)}`,
  ])('%s is refused', (url) => {
    expect(() => guard().check(url)).toThrow(refused);
  });

  test.each([
    'https://example.com/hook?a=b',
    'https://example.com:443/',
    'https://8.8.8.8/',
    'https://[2606:4700::1]/',
  ])('%s is taken', (url) => {
    expect(guard().check(url).href).toBe(new URL(url).href);
  });

  test('of http and of another port are taken where the operator says so', () => {
    const open = guard({ allowsHttp: true, ports: [80, 8443] });
    expect(open.check('http://example.com/').port).toBe('');
    expect(open.check('https://example.com:8443/').port).toBe('8443');
    expect(() => open.check('https://example.com/')).toThrow(refused);
  });
});

const FORBIDDEN = [
  ['loopback', '127.0.0.1'],
  ['loopback, decimal', '2130706433'],
  ['loopback, octal', '0177.0.0.1'],
  ['loopback, hexadecimal', '0x7f.1'],
  ['loopback, short', '127.1'],
  ['loopback, wide digits', '１２７.0.0.1'],
  ['this host', '0.0.0.0'],
  ['private', '10.1.2.3'],
  ['private', '172.31.0.1'],
  ['private', '192.168.1.1'],
  ['link-local, metadata', '169.254.169.254'],
  ['link-local, metadata, decimal', '2852039166'],
  ['metadata of Azure', '168.63.129.16'],
  ['shared', '100.100.100.200'],
  ['benchmarking', '198.18.0.1'],
  ['documentation', '203.0.113.5'],
  ['multicast', '224.0.0.1'],
  ['broadcast', '255.255.255.255'],
  ['reserved', '240.0.0.1'],
  ['IPv6 loopback', '[::1]'],
  ['IPv6 unspecified', '[::]'],
  ['IPv4 in IPv6, mapped', '[::ffff:127.0.0.1]'],
  ['IPv4 in IPv6, mapped, hexadecimal', '[::ffff:7f00:1]'],
  ['IPv4 in IPv6, mapped public', '[::ffff:8.8.8.8]'],
  ['IPv4 in IPv6, compatible', '[::127.0.0.1]'],
  ['NAT64', '[64:ff9b::127.0.0.1]'],
  ['NAT64, local', '[64:ff9b:1::1]'],
  ['6to4', '[2002:7f00:1::]'],
  ['Teredo', '[2001:0:7f00:1::]'],
  ['unique local', '[fd00:ec2::254]'],
  ['IPv6 link-local', '[fe80::1]'],
  ['site-local', '[fec0::1]'],
  ['IPv6 multicast', '[ff02::1]'],
  ['IPv6 documentation', '[2001:db8::1]'],
  ['never given out', '[4000::1]'],
] as const;

describe('an address that is not public', () => {
  test.each(FORBIDDEN)('%s: %s is refused, also as what a name means', async (_, host) => {
    expect(() => guard().check(`https://${host}/`)).toThrow(refused);
    const { hostname } = new URL(`https://${host}/`);
    const address = hostname.replaceAll(/[[\]]/g, '');
    await expect(guard({}, address).addressOf('https://receiver.example/')).rejects.toThrow(ReceiverRefused);
  });

  test('one of several is enough', async () => {
    await expect(guard({}, '8.8.8.8', '127.0.0.1').addressOf('https://receiver.example/')).rejects.toThrow(
      ReceiverRefused,
    );
    expect(await guard({}, '8.8.8.8', '1.1.1.1').addressOf('https://receiver.example/')).toMatchObject({
      address: '8.8.8.8',
    });
  });

  test('what a resolver says that is no address is refused', async () => {
    await expect(guard({}, 'localhost').addressOf('https://receiver.example/')).rejects.toThrow(ReceiverRefused);
    await expect(guard({}).addressOf('https://receiver.example/')).rejects.toThrow(ReceiverRefused);
  });

  test('is allowed by network, by address and by name, and nothing else with it', async () => {
    const open = guard({ allowed: ['10.1.0.0/16', 'fd00::/8', 'CI.example', '127.0.0.1'] }, '10.2.0.1');
    expect(open.check('https://10.1.2.3/').host).toBe('10.1.2.3');
    expect(open.check('https://[fd00::7]/').host).toBe('[fd00::7]');
    expect(open.check('https://127.0.0.1/').host).toBe('127.0.0.1');
    expect(() => open.check('https://10.2.0.1/')).toThrow(refused);
    expect(() => open.check('https://127.0.0.2/')).toThrow(refused);
    expect(await open.addressOf('https://ci.example/')).toMatchObject({ address: '10.2.0.1' });
    await expect(open.addressOf('https://other.ci.example/')).rejects.toThrow(ReceiverRefused);
  });
});

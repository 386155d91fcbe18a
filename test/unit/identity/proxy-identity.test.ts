/** A caller named by a proxy: from whom it is believed, and what is no name. */
import { describe, expect, test } from 'vitest';
import { proxyReader } from '../../../src/identity/proxy-identity.ts';

const scopes = new Set(['run'] as const);
const settings = { trusted: ['10.0.0.0/8', '192.0.2.7', '2001:db8::/32', 'loopback'], header: 'x-user', scopes };
const read = proxyReader(settings);

const shown = (peerAddress: string, headers: readonly (readonly [string, string])[]) => ({
  peerAddress,
  header: (name: string) => headers.filter(([known]) => known.toLowerCase() === name).map(([, value]) => value),
});

test.each(['10.1.2.3', '192.0.2.7', '::ffff:10.0.0.1', '2001:db8::1', '127.0.0.1', '::1'])(
  'from the proxy at %s it counts',
  (address) => {
    expect(read(shown(address, [['X-User', 'ada']]))).toEqual({ id: 'proxy:ada', scopes });
  },
);

test.each(['192.0.2.8', '11.0.0.1', '::ffff:11.0.0.1', '2001:db9::1', '', 'x', '10.0.0.1, 1.2.3.4'])(
  'from %j it is as if it were not there',
  (address) => {
    expect(read(shown(address, [['x-user', 'ada']]))).toBeUndefined();
  },
);

describe('from the proxy', () => {
  test.each([['x_user'], ['x-user '], ['x-user-'], ['xuser']])('%s is another header', (name) => {
    expect(read(shown('10.0.0.1', [[name, 'root']]))).toBeUndefined();
  });

  test('the header twice is refused: one of the two may be the client’s', () => {
    expect(() =>
      read(
        shown('10.0.0.1', [
          ['X-User', 'ada'],
          ['x-USER', 'root'],
        ]),
      ),
    ).toThrow('more than one identity');
  });

  test.each(['', ' ', 'ada, root', 'ada,root', 'a\u0000', 'a\tb', 'ä', 'x'.repeat(129), ' ada'])(
    '%j is no name',
    (name) => {
      expect(() => read(shown('10.0.0.1', [['x-user', name]]))).toThrow('no valid caller');
    },
  );

  test.each(['ada', 'ada@example.org', 'Ada Lovelace', 'corp\\ada', 'a'])('%j is one', (name) => {
    expect(read(shown('10.0.0.1', [['x-user', name]]))?.id).toBe(`proxy:${name}`);
  });
});

test.each(['10.0.0.0/33', '10.0.0/8', 'proxy.example', '10.0.0.0/x', '2001:db8::/129', '/8'])(
  '%s is no network',
  (text) => {
    expect(() => proxyReader({ ...settings, trusted: [text] })).toThrow(text);
  },
);

/** Limits by caller and by address, and what is told of them. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Scope } from '../../../src/domain/caller.ts';
import { NotRecognised } from '../../../src/domain/credentials.ts';
import { startHttp, type TestServer, type TestServerOptions } from '../../support/http-server.ts';

let server: TestServer;
afterEach(async () => {
  await server[Symbol.asyncDispose]();
});

const none = { perCaller: 0, perAddress: 0, failures: 0 };

async function start(
  rateLimits: Partial<typeof none>,
  settings: TestServerOptions['settings'] = {},
): Promise<string[]> {
  const refused: string[] = [];
  server = await startHttp({
    settings,
    deps: {
      rateLimits: { ...none, ...rateLimits },
      identify: ({ header }) => {
        const [id] = header('x-api-key');
        if (id === undefined) return Promise.reject(new NotRecognised('none_given'));
        return Promise.resolve({ id, scopes: new Set<Scope>(['run', 'read']) });
      },
      observeRefusedCaller: ({ address }) => refused.push(address),
    },
  });
  return refused;
}

const ask = (key?: string, headers: Record<string, string> = {}, path = '/api/v1/images') =>
  fetch(server.url + path, { headers: { ...(key === undefined ? {} : { 'x-api-key': key }), ...headers } });
const statuses = async (count: number, ...args: Parameters<typeof ask>) => {
  const seen: number[] = [];
  for (let at = 0; at < count; at += 1) seen.push((await ask(...args)).status);
  return seen;
};

describe('of a caller', () => {
  it('is its own: another is not held up by it', async () => {
    await start({ perCaller: 3 });
    expect(await statuses(5, 'ada')).toEqual([200, 200, 200, 429, 429]);
    expect(await statuses(1, 'bob')).toEqual([200]);
  });

  it('is told: what is left, and when to come again', async () => {
    await start({ perCaller: 2 });
    const first = await ask('ada');
    expect([first.headers.get('ratelimit-limit'), first.headers.get('ratelimit-remaining')]).toEqual(['2', '1']);
    await ask('ada');
    const refused = await ask('ada');
    expect(refused.status).toBe(429);
    const retryAfter = Number(refused.headers.get('retry-after'));
    expect(retryAfter).toBeGreaterThan(0);
    expect(retryAfter).toBeLessThanOrEqual(60);
    expect(refused.headers.get('ratelimit-reset')).toBe(String(retryAfter));
    expect(refused.headers.get('content-type')).toContain('application/problem+json');
    expect(await refused.json()).toMatchObject({ code: 'rate_limited', status: 429, retryable: true });
  });

  it('counts what is refused for its scope too, and not /health', async () => {
    await start({ perCaller: 1, perAddress: 2 });
    expect(await statuses(10, undefined, {}, '/health')).toEqual(Array.from({ length: 10 }, () => 200));
    expect(await statuses(2, 'ada', {}, '/metrics')).toEqual([403, 429]);
  });
});

describe('of an address', () => {
  const proxied = { trustProxy: ['127.0.0.1'] };
  const from = (address: string) => ({ 'x-forwarded-for': address });

  it('behind a trusted proxy is the client’s', async () => {
    await start({ perAddress: 2 }, proxied);
    expect(await statuses(3, 'ada', from('192.0.2.1'))).toEqual([200, 200, 429]);
    expect(await statuses(1, 'ada', from('192.0.2.2'))).toEqual([200]);
  });

  it('H18: a client that forwards one itself is still itself', async () => {
    await start({ perAddress: 2 });
    expect([
      ...(await statuses(1, 'ada', from('192.0.2.1'))),
      ...(await statuses(1, 'ada', from('192.0.2.2'))),
      ...(await statuses(1, 'ada', from('192.0.2.3'))),
    ]).toEqual([200, 200, 429]);
  });

  it('IPv6 is counted by /64', async () => {
    await start({ perAddress: 2 }, proxied);
    expect([
      ...(await statuses(1, 'ada', from('2001:db8::1'))),
      ...(await statuses(1, 'ada', from('2001:db8::ffff:2'))),
      ...(await statuses(1, 'ada', from('2001:db8:0:0:9::3'))),
      ...(await statuses(1, 'ada', from('2001:db8:0:1::1'))),
    ]).toEqual([200, 200, 429, 200]);
  });
});

describe('wrong credentials', () => {
  it('are answered so often from one address, and then unheard; right ones still count', async () => {
    const refused = await start({ failures: 3 });
    expect(await statuses(5)).toEqual([401, 401, 401, 429, 429]);
    expect(refused).toHaveLength(3);
    expect(await statuses(1, 'ada')).toEqual([200]);
  });
});

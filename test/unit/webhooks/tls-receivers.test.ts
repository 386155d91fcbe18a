/**
 * Webhooks over TLS, to real receivers with certificates of an authority of the test:
 * delivered where the certificate is good, and nothing sent where it is not.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ANONYMOUS } from '../../../src/domain/caller.ts';
import { newExecutionId } from '../../../src/domain/execution.ts';
import { WebhookTable } from '../../../src/store/webhook-table.ts';
import { ReceiverGuard } from '../../../src/webhooks/receiver-guard.ts';
import { WebhookDeliveries } from '../../../src/webhooks/webhook-deliveries.ts';
import { Authority, type Certificate } from '../../support/certificates.ts';
import { eventually } from '../../support/http-server.ts';

const HOST = 'receiver.example';
let authority: Authority;
let stranger: Authority;
let directory: string;
const cleanUps: (() => unknown)[] = [];
beforeAll(() => {
  authority = new Authority();
  stranger = new Authority();
});
afterAll(() => {
  authority.remove();
  stranger.remove();
});
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pyexec-tls-'));
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  rmSync(directory, { recursive: true });
});

async function receiver({ cert, key }: Certificate) {
  const bodies: string[] = [];
  const names: (string | false | null)[] = [];
  const server = createServer({ cert, key }, (request, response) => {
    names.push((request.socket as TLSSocket).servername);
    void text(request).then((body) => {
      bodies.push(body);
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { bodies, names, port: (server.address() as AddressInfo).port };
}

/** Sends one message to the receiver, once; what came of it. */
async function deliver(host: string, port: number, ca?: readonly string[]) {
  const table = new WebhookTable(directory);
  const results: string[] = [];
  const deliveries = new WebhookDeliveries({
    table,
    guard: new ReceiverGuard({ allowsHttp: false, ports: [port], allowed: ['127.0.0.1'] }, () =>
      Promise.resolve(['127.0.0.1']),
    ),
    ca,
    secret: 'a secret of sixteen bytes and more',
    attemptsMax: 1,
    retryMs: 1,
    timeoutMs: 5_000,
    pendingMax: 10,
    observe: (result) => results.push(result),
    onError: (error) => {
      throw error;
    },
    userAgent: 'test',
  });
  cleanUps.push(async () => {
    await deliveries.close();
    table.close();
  });
  const id = newExecutionId();
  const url = `https://${host}:${String(port)}/`;
  deliveries.check({ url });
  deliveries.register(id, ANONYMOUS.id, { url });
  deliveries.ended(id, () =>
    Promise.resolve({ execution_id: id, status: 'completed', exit_code: 0, created_at: '2026-01-01T00:00:00.000Z' }),
  );
  await eventually(() => results.length === 1, 'it was tried');
  return { result: results[0], error: deliveries.deadLetters(ANONYMOUS)[0]?.lastError };
}

const DELIVERED = { result: 'delivered', error: undefined };
const REFUSED = { result: 'dead', error: 'certificate' };

describe('an authority the operator names', () => {
  test('is believed: by name, which the receiver is told, and by address', async () => {
    const { bodies, names, port } = await receiver(authority.sign([`DNS:${HOST}`, 'IP:127.0.0.1']));
    expect(await deliver(HOST, port, [authority.certificate])).toEqual(DELIVERED);
    expect(names).toEqual([HOST]);
    expect(await deliver('127.0.0.1', port, [stranger.certificate, authority.certificate])).toEqual(DELIVERED);
    expect(bodies).toHaveLength(2);
  });

  test.each<[string, () => Certificate]>([
    ['another host', () => authority.sign(['DNS:other.example', 'IP:127.0.0.2'])],
    ['a host below it', () => authority.sign([`DNS:*.${HOST}`])],
    ['a time that is over', () => authority.sign([`DNS:${HOST}`], -1)],
    ['another authority', () => stranger.sign([`DNS:${HOST}`])],
  ])('a certificate for %s is refused, and nothing is sent', async (_, certificate) => {
    const { bodies, port } = await receiver(certificate());
    expect(await deliver(HOST, port, [authority.certificate])).toEqual(REFUSED);
    expect(bodies).toEqual([]);
  });
});

test('without it the same certificate is refused, whatever the environment says', async () => {
  const { bodies, port } = await receiver(authority.sign([`DNS:${HOST}`]));
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  try {
    expect(await deliver(HOST, port)).toEqual(REFUSED);
  } finally {
    delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
  }
  expect(bodies).toEqual([]);
});

test('a receiver that speaks no TLS is unreachable', async () => {
  const server = createTcpServer((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  expect(await deliver(HOST, port, [authority.certificate])).toEqual({ result: 'dead', error: 'unreachable' });
});

/**
 * The real service is killed with a webhook to be retried, a run in progress and one that
 * waits: all are told after the restart, over TLS, each as the execution says itself.
 */
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Execution } from '../../../src/domain/execution.ts';
import { Authority } from '../../support/certificates.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

const SECRET = 'a secret of sixteen bytes and more';
let authority: Authority;
beforeAll(() => {
  authority = new Authority();
});
afterAll(() => {
  authority.remove();
});

type Message = Execution & { delivery_id: string };

test('kill -9 loses no webhook, and each says what the execution says', async () => {
  let isWell = false;
  const received: Message[] = [];
  let attempts = 0;
  const server = createServer(authority.sign(['IP:127.0.0.1']), (request, response) => {
    void text(request).then((body) => {
      attempts += 1;
      if (isWell) received.push(JSON.parse(body) as Message);
      response.writeHead(isWell ? 200 : 503).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const state = temporaryStateDirectory();
  const settings = {
    PYEXEC_STATE_DIR: state.path,
    PYEXEC_MAX_CONCURRENT: '1',
    PYEXEC_WEBHOOK_ALLOWED_HOSTS: '127.0.0.1',
    PYEXEC_WEBHOOK_PORTS: String(port),
    PYEXEC_WEBHOOK_SECRET: SECRET,
    PYEXEC_WEBHOOK_CA_FILE: authority.file,
    PYEXEC_WEBHOOK_RETRY: '1',
    // A proxy of the environment, at which nobody answers: delivered all the same, so it was not asked.
    NODE_USE_ENV_PROXY: '1',
    HTTPS_PROXY: 'http://127.0.0.1:9',
  };
  const url = `https://127.0.0.1:${String(port)}/`;
  const submit = async (service: ServiceProcess, code: string) => {
    const response = await fetch(`${service.url}/api/v1/exec`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'respond-async' },
      body: JSON.stringify({ code, webhook: { url } }),
    });
    expect(response.status).toBe(202);
    return ((await response.json()) as Execution).execution_id;
  };
  try {
    const first = await ServiceProcess.start(settings);
    const { instance } = first;
    const done = await submit(first, 'print("kept")');
    await expect.poll(() => attempts, { timeout: 20_000 }).toBeGreaterThan(0);
    const cut = await submit(first, 'import time; print("begun", flush=True); time.sleep(120)');
    const waiting = await submit(first, 'print("never")');
    // Until its output is on the disk, which is so every second.
    await expect.poll(async () => (await first.execution(cut)).stdout, { timeout: 20_000 }).toBe('begun\n');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    first.signal('SIGKILL');
    await first.ended;
    expect(received).toEqual([]);

    isWell = true;
    await using second = await ServiceProcess.start({ ...settings, PYEXEC_INSTANCE: instance });
    await expect.poll(() => received.length, { timeout: 30_000 }).toBe(3);
    for (const id of [done, cut, waiting]) {
      const { delivery_id, ...told } = received.find(({ execution_id }) => execution_id === id) as Message;
      expect(delivery_id).toMatch(/^whd_/);
      expect(told).toEqual(await second.execution(id));
    }
    const told = (id: string) => received.find(({ execution_id }) => execution_id === id);
    expect(told(done)).toMatchObject({ status: 'completed', stdout: 'kept\n' });
    expect(told(cut)).toMatchObject({ status: 'failed', outcome: { kind: 'interrupted' }, stdout: 'begun\n' });
    expect(told(waiting)).toMatchObject({ status: 'failed', outcome: { kind: 'interrupted' }, stdout: '' });
    expect(told(waiting)?.error).toContain('before the program was started');
    const metrics = await (await second.get('/metrics')).text();
    expect(metrics).toContain('pyexec_webhook_attempts_total{result="delivered"} 3');
  } finally {
    server.closeAllConnections();
    server.close();
    state.remove();
  }
});

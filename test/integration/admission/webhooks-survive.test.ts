/** The real service is killed with a webhook to be retried and a run in progress: both are told after the restart. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import type { Execution } from '../../../src/domain/execution.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { temporaryStateDirectory } from '../../support/state-directory.ts';

const SECRET = 'a secret of sixteen bytes and more';

test('kill -9 loses no webhook, and each says what the execution says', async () => {
  let isWell = false;
  const received: Execution[] = [];
  let attempts = 0;
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      attempts += 1;
      if (isWell) received.push(JSON.parse(body) as Execution);
      response.writeHead(isWell ? 200 : 503).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const state = temporaryStateDirectory();
  const settings = {
    PYEXEC_STATE_DIR: state.path,
    PYEXEC_WEBHOOK_ALLOW_HTTP: 'true',
    PYEXEC_WEBHOOK_ALLOWED_HOSTS: '127.0.0.1',
    PYEXEC_WEBHOOK_PORTS: String(port),
    PYEXEC_WEBHOOK_SECRET: SECRET,
    PYEXEC_WEBHOOK_RETRY: '1',
    // A proxy of the environment, at which nobody answers: delivered all the same, so it was not asked.
    NODE_USE_ENV_PROXY: '1',
    HTTP_PROXY: 'http://127.0.0.1:9',
  };
  const url = `http://127.0.0.1:${String(port)}/`;
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
    await expect.poll(async () => (await first.execution(cut)).stdout, { timeout: 20_000 }).toBe('begun\n');
    first.signal('SIGKILL');
    await first.ended;
    expect(received).toEqual([]);

    isWell = true;
    await using second = await ServiceProcess.start({ ...settings, PYEXEC_INSTANCE: instance });
    await expect.poll(() => received.length, { timeout: 30_000 }).toBe(2);
    for (const id of [done, cut]) {
      const told = received.find(({ execution_id }) => execution_id === id);
      const { status, outcome, stdout } = await second.execution(id);
      expect(told).toMatchObject({ status, outcome, stdout });
    }
    expect(received.find(({ execution_id }) => execution_id === done)).toMatchObject({
      status: 'completed',
      stdout: 'kept\n',
    });
    expect(received.find(({ execution_id }) => execution_id === cut)?.outcome?.kind).toBe('interrupted');
    const metrics = await (await second.get('/metrics')).text();
    expect(metrics).toContain('pyexec_webhook_attempts_total{result="delivered"} 2');
  } finally {
    server.closeAllConnections();
    server.close();
    state.remove();
  }
});

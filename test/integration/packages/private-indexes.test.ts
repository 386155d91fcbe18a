/**
 * An index with an authority of its own and with credentials, TLS on loopback: the
 * service knows both, the builder, the run, the logs and the layers know neither.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, type Certificate } from '../../support/certificates.ts';
import { docker } from '../../support/docker-containers.ts';
import { layersOf, removeLayers, startLayerEngine } from '../../support/layers.ts';
import { PackageIndex } from '../../support/package-index.ts';
import { ServiceProcess } from '../../support/service-process.ts';
import { wheel } from '../../support/wheels.ts';

const PASSWORD = `secret-${randomBytes(12).toString('hex')}`;
const CREDENTIALS = `reader:${PASSWORD}`;
const ENCODED = Buffer.from(CREDENTIALS).toString('base64');
const fine = wheel({ name: 'fine' });
const program = 'import fine; print(fine.VERSION)';

const NAMES = ['IP:127.0.0.1', 'DNS:localhost'];
const authority = new Authority();
let certificate: Certificate;
let index: PackageIndex;
let settings: Record<string, string>;
beforeAll(async () => {
  certificate = authority.sign(NAMES);
  index = await PackageIndex.openAs({ certificate, credentials: CREDENTIALS }, fine);
  settings = {
    ...index.settings,
    PYEXEC_INDEX_CA_FILE: authority.file,
    PYEXEC_INDEX_CREDENTIALS: CREDENTIALS,
  };
});
afterAll(async () => {
  await index[Symbol.asyncDispose]();
  authority.remove();
});

const code = async (more: Record<string, string>) => {
  await using engine = await startLayerEngine(index, more);
  const { outcome, stdout } = await engine.run(program, { requirements: 'fine' });
  return { stdout, code: outcome?.kind === 'infrastructure_error' ? outcome.code : outcome?.kind };
};

describe('an index with credentials, by TLS', () => {
  it('is used, and what it asks for is told to nobody', async () => {
    const service = await ServiceProcess.start({ ...settings, PYEXEC_LOG_LEVEL: 'trace' });
    try {
      const probe = `
${program}
import os
def texts():
    for folder in ("/proc/self", "/proc/1"):
        for name in ("environ", "cmdline"):
            try: yield open(f"{folder}/{name}", "rb").read()
            except OSError: pass
    for folder, _, names in os.walk(os.path.dirname(fine.__file__)):
        for name in names: yield open(os.path.join(folder, name), "rb").read()
print(any(word in text for text in texts() for word in (b"${PASSWORD.slice(0, 12)}" b"${PASSWORD.slice(12)}", b"${ENCODED.slice(0, 9)}" b"${ENCODED.slice(9)}")))
`;
      const answer = await post(service, probe);
      expect(answer).toMatchObject({ stdout: '1.0\nFalse\n', packages: ['fine==1.0'] });
      const failed = await post(service, program, ['unheard-of']);
      expect(failed).toMatchObject({ code: 'resolution_failed' });
      const layers = await Promise.all(
        (await layersOf(service.instance)).map(async ({ Id }) => [
          await docker.getImage(Id).inspect(),
          (await docker.getImage(Id).history()) as unknown,
        ]),
      );
      expect(layers).toHaveLength(1);
      const told = [JSON.stringify([answer, failed, layers]), service.log()];
      expect(told[1]).toContain('a builder asked for a host');
      for (const text of told) for (const word of [PASSWORD, ENCODED]) expect(text).not.toContain(word);
      expect(index.refused).toBe(0);
    } finally {
      await service[Symbol.asyncDispose]();
      await removeLayers(service.instance);
    }
  });

  it('is not used without them, with others, or under an authority nobody knows', async () => {
    expect(await code({ ...settings, PYEXEC_INDEX_CREDENTIALS: '' })).toEqual({
      stdout: '',
      code: 'index_unreachable',
    });
    expect(await code({ ...settings, PYEXEC_INDEX_CREDENTIALS: 'reader:wrong' })).toMatchObject({
      code: 'index_unreachable',
    });
    expect(index.refused).toBeGreaterThan(0);
    const asked = index.requests.length;
    expect(await code({ ...settings, PYEXEC_INDEX_CA_FILE: '' })).toMatchObject({ code: 'index_unreachable' });
    const others = new Authority();
    expect(await code({ ...settings, PYEXEC_INDEX_CA_FILE: others.file })).toMatchObject({
      code: 'index_unreachable',
    });
    others.remove();
    expect(index.requests.length).toBe(asked);
  });

  it('is not another machine with a certificate of the same authority', async () => {
    const elsewhere = authority.sign(['DNS:elsewhere.example']);
    await using impostor = await PackageIndex.openAs({ certificate: elsewhere }, fine);
    await using engine = await startLayerEngine(impostor, { PYEXEC_INDEX_CA_FILE: authority.file });
    const { outcome } = await engine.run(program, { requirements: 'fine' });
    expect(outcome).toMatchObject({ code: 'index_unreachable' });
    expect(impostor.requests).toEqual([]);
  });
});

it('credentials go to the index, not to the host its files are on, nor where it sends a request', async () => {
  const authorizations: (string | undefined)[] = [];
  await using files = await PackageIndex.openAs({ certificate }, fine);
  files.misbehave = (request) => {
    authorizations.push(request.headers.authorization);
    return false;
  };
  await using pages = await PackageIndex.openAs(
    { certificate, credentials: CREDENTIALS, filesAt: files.origin },
    fine,
    wheel({ name: 'moved' }),
  );
  files.add(wheel({ name: 'moved' }));
  pages.misbehave = (request, response) => {
    if (request.url !== '/simple/moved/') return false;
    response.writeHead(302, { location: `${files.origin}/simple/moved/` }).end();
    return true;
  };
  await using engine = await startLayerEngine(pages, {
    ...settings,
    PYEXEC_INDEX_URL: pages.url,
    PYEXEC_INDEX_HOSTS: `127.0.0.1:${String(files.port)}`,
  });
  expect(await engine.run(program, { requirements: 'fine' })).toMatchObject({ stdout: '1.0\n' });
  expect(await engine.run('import moved; print(moved.VERSION)', { requirements: 'moved' })).toMatchObject({
    stdout: '1.0\n',
  });
  expect(authorizations.length).toBeGreaterThanOrEqual(3);
  expect(new Set(authorizations)).toEqual(new Set([undefined]));
  // A host that is not on the list is not asked, whatever a page says.
  await using unlisted = await PackageIndex.openAs({ certificate }, wheel({ name: 'stray' }));
  await using astray = await PackageIndex.openAs({ certificate, filesAt: unlisted.origin }, wheel({ name: 'stray' }));
  await using second = await startLayerEngine(astray, { PYEXEC_INDEX_CA_FILE: authority.file });
  const { outcome } = await second.run('print(1)', { requirements: 'stray' });
  expect(outcome).toMatchObject({ kind: 'infrastructure_error' });
  expect(unlisted.requests).toEqual([]);
});

describe('refused at boot', () => {
  it.each([
    ['credentials in the clear', { PYEXEC_INDEX_URL: 'http://127.0.0.1:9/simple' }, /PYEXEC_INDEX_CREDENTIALS/],
    ['a file that is not there', { PYEXEC_INDEX_CA_FILE: '/nonexistent.pem' }, /PYEXEC_INDEX_CA_FILE/],
    ['a file without a certificate', { PYEXEC_INDEX_CA_FILE: '/etc/hostname' }, /PYEXEC_INDEX_CA_FILE/],
    ['a host that is none', { PYEXEC_INDEX_HOSTS: 'a b' }, /PYEXEC_INDEX_HOSTS/],
  ])('%s', async (_name, more, message) => {
    await expect(startLayerEngine(index, { ...settings, ...more })).rejects.toThrow(message);
  });

  it('a certificate that is none', async () => {
    const broken = `${authority.file}.broken`;
    writeFileSync(broken, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    await expect(startLayerEngine(index, { ...settings, PYEXEC_INDEX_CA_FILE: broken })).rejects.toThrow(
      /PYEXEC_INDEX_CA_FILE/,
    );
  });
});

async function post(service: ServiceProcess, source: string, requirements = ['fine']) {
  const response = await fetch(`${service.url}/api/v1/exec`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code: source, requirements }),
    signal: AbortSignal.timeout(60_000),
  });
  return (await response.json()) as object;
}

/**
 * Every command in the examples' documents, run as written against the real service.
 * (That of debian-library is run beside its own test, which knows whether Debian can be reached.)
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { missing, run } from '../support/examples-commands.ts';
import { ROOT, startService } from '../support/examples-service.ts';

/** Some twenty commands, most of which start a container where there is no warm one. */
vi.setConfig({ testTimeout: 180_000 });

const NEEDED = ['curl', 'jq', 'tar', 'gzip'];
const OWN_TEST = 'debian-library';

async function documents(): Promise<string[]> {
  const files = await readdir(join(ROOT, 'examples'), { recursive: true });
  return [
    'README.md',
    ...files
      .filter((file) => file.endsWith('.md') && !file.startsWith(OWN_TEST))
      .map((file) => join('examples', file))
      .sort(),
  ];
}

test('every command in examples/ does what its document says', async ({ skip }) => {
  const absent = missing(NEEDED);
  if (absent.length > 0 && process.env['CI'] !== 'true') return skip(`this machine has no ${absent.join(', ')}`);
  await using service = await startService();
  const files = await documents();
  const { status, stdout, stderr } = await run(process.execPath, [
    'examples/run-recipes.mjs',
    '--server',
    service.url,
    ...files,
  ]);
  const output = stdout.toString() + stderr;
  expect(output).not.toMatch(/^FAILED/m);
  expect(status).toBe(0);
  // Each document but the index has something to run.
  for (const file of files.filter((name) => name !== 'examples/README.md')) expect(output).toContain(`ok     ${file}`);
});

test('the index names every example', async () => {
  const index = await readFile(join(ROOT, 'examples/README.md'), 'utf8');
  const folders = (await readdir(join(ROOT, 'examples'), { withFileTypes: true })).filter((entry) =>
    entry.isDirectory(),
  );
  for (const { name } of folders) expect(index).toContain(`(${name}/)`);
  for (const [, target] of index.matchAll(/\]\(([^)#:]+)\)/g)) {
    await expect(
      readFile(join(ROOT, 'examples', target ?? '', target?.endsWith('/') ? 'README.md' : '')),
    ).resolves.toBeDefined();
  }
});

test('a recipe that does not hold is noticed', async () => {
  await using service = await startService();
  const folder = await mkdtemp(join(tmpdir(), 'examples-recipes-'));
  const check = async (document: string) => {
    const file = join(folder, 'document.md');
    await writeFile(file, document);
    return run(process.execPath, ['examples/run-recipes.mjs', '--server', service.url, file]);
  };
  try {
    const block = (info: string, command: string, output: string) =>
      `\`\`\`${info}\n${command}\n\`\`\`\n\n\`\`\`console-output\n${output}\n\`\`\`\n`;
    expect(await check(block('sh', 'echo right', 'right'))).toMatchObject({ status: 0 });
    expect(await check(block('sh', 'echo right', 'wrong'))).toMatchObject({ status: 1 });
    expect(await check(block('sh', 'echo right; false', 'right'))).toMatchObject({ status: 1 });
    expect(await check(block('sh exit=1', 'echo right; false', 'right'))).toMatchObject({ status: 0 });
    expect(await check('```sh\necho no output beside it\n```\n')).toMatchObject({ status: 1 });
    expect(await check('nothing to run')).toMatchObject({ status: 2 });
    await service.stop();
    expect(await check(block('sh', 'echo right', 'right'))).toMatchObject({ status: 2 });
  } finally {
    await rm(folder, { recursive: true });
  }
});

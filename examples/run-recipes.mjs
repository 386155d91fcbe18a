#!/usr/bin/env node
/**
 * Runs every command of the examples' documents against a live service and compares
 * exit status and output with what the document says.
 *
 *   node examples/run-recipes.mjs [--update] [--server URL] [FILE.md ...]
 *
 * A recipe is a fenced block `sh` (or `sh exit=N`, when another status than 0 is
 * right) followed by a fenced block `console-output`. Commands run in the repository
 * root under bash, which stops at the first failure (-e, pipefail); http://localhost:8080 stands for the service.
 * What differs from run to run (ids, times, durations, memory) is masked on both
 * sides, everything else must be equal. `--update` writes the real output instead.
 *
 * Exits with 0 when every recipe held, 1 when one did not, 2 when there was nothing to run.
 */
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DOCUMENTED_SERVER = 'http://localhost:8080';
const COMMAND_TIMEOUT_MS = 60_000;
const SHOWN_CHARACTERS = 2000;

const RECIPE = /^```sh(?: exit=(?<status>\d+))?\n(?<command>.*?)^```\n\s*^```console-output\n(?<output>.*?)^```$/gms;
/** Blocks the pattern above must account for, so that none is passed over silently. */
const COMMAND_BLOCK = /^```sh\b/gm;

/** What no two runs share, and what stands for it. In this order. */
const MASKS = [
  [/exe_[0-9a-f-]{36}/g, 'exe_ID'],
  [/sha256:[0-9a-f]{64}/g, 'sha256:DIGEST'],
  [/(pyexec\/[a-z]+):[0-9a-f]{12}\b/g, '$1:RECIPE'],
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, 'TIME'],
  [/("(?:t_ms|duration_ms|cpu_ms|wall_ms|memory_peak_bytes|size_bytes)": ?)[\d.]+/g, '$1N'],
  // Not every kernel tells these two.
  [/,?\s*"(?:cpu_ms|memory_peak_bytes)": ?N/g, ''],
  [/("request_id": ?)"[^"]*"/g, '$1"ID"'],
  [/("python": ?)"3\.[\d.]+"/g, '$1"VERSION"'],
  [/ *\d+(\.\d+)? ?(ms|s)\b/g, ' N $2'],
  [/^(date|keep-alive|etag): .*$/gim, '$1: *'],
];

function mask(text) {
  return MASKS.reduce((masked, [pattern, replacement]) => masked.replace(pattern, replacement), text).trimEnd();
}

/** Every recipe of a document. Throws when a command has no output beside it. */
function recipesOf(document, name) {
  const recipes = [...document.matchAll(RECIPE)].map((match) => ({
    command: match.groups.command,
    status: Number(match.groups.status ?? 0),
    output: match.groups.output,
    line: document.slice(0, match.index).split('\n').length,
    at: match.index,
    text: match[0],
  }));
  const blocks = document.match(COMMAND_BLOCK)?.length ?? 0;
  if (blocks !== recipes.length) {
    throw new Error(`${name}: ${blocks} commands, but only ${recipes.length} of them are followed by their output`);
  }
  return recipes;
}

async function run(command, server) {
  const child = spawn('bash', ['-e', '-o', 'pipefail', '-c', command.replaceAll(DOCUMENTED_SERVER, server)], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: COMMAND_TIMEOUT_MS,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => {
      output += chunk;
    });
  }
  const status = await new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (code, signal) => resolve(code ?? signal));
  });
  return { status, output: output.replaceAll(server, DOCUMENTED_SERVER) };
}

function difference(expected, actual) {
  const [wanted, got] = [expected.split('\n'), actual.split('\n')];
  const at = wanted.findIndex((line, index) => line !== got[index]);
  const index = at === -1 ? wanted.length : at;
  return `  line ${index + 1} of the output\n  expected: ${wanted[index] ?? '(nothing)'}\n  was:      ${got[index] ?? '(nothing)'}`;
}

function documents() {
  const folders = readdirSync(HERE, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const nested = folders.flatMap(({ name }) =>
    readdirSync(join(HERE, name))
      .filter((file) => file.endsWith('.md'))
      .map((file) => join(HERE, name, file)),
  );
  const own = readdirSync(HERE).filter((file) => file.endsWith('.md'));
  return [...own.map((file) => join(HERE, file)), ...nested];
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { update: { type: 'boolean', default: false }, server: { type: 'string', default: DOCUMENTED_SERVER } },
  });
  const files = positionals.length > 0 ? positionals : documents();
  const isThere = await fetch(`${values.server}/health`).then(({ ok }) => ok).catch(() => false);
  if (!isThere) {
    console.error(`no service answers at ${values.server}; start it with npm start, or name another with --server`);
    return 2;
  }
  let held = 0;
  let failed = 0;
  for (const file of files) {
    const name = relative(ROOT, file);
    let document = readFileSync(file, 'utf8');
    const outcomes = [];
    for (const recipe of recipesOf(document, name)) {
      const { status, output } = await run(recipe.command, values.server);
      const faults = [];
      if (status !== recipe.status) faults.push(`  exit status ${status} instead of ${recipe.status}\n${output.slice(0, SHOWN_CHARACTERS)}`);
      else if (!values.update && mask(output) !== mask(recipe.output)) {
        faults.push(difference(mask(recipe.output), mask(output)));
      }
      if (faults.length === 0) held += 1;
      else failed += 1;
      console.log(`${faults.length === 0 ? 'ok    ' : 'FAILED'} ${name}:${recipe.line}`);
      for (const fault of faults) console.log(fault);
      // What went wrong is not written down as if it were right.
      if (faults.length === 0) outcomes.push({ recipe, output });
    }
    if (!values.update) continue;
    // From the end, so that the positions of those before stay right.
    for (const { recipe, output } of outcomes.reverse()) {
      const shown = output === '' || output.endsWith('\n') ? output : `${output}\n`;
      const head = recipe.text.slice(0, recipe.text.lastIndexOf('```console-output\n') + '```console-output\n'.length);
      const before = document.slice(0, recipe.at);
      document = `${before}${head}${shown}\`\`\`${document.slice(recipe.at + recipe.text.length)}`;
    }
    writeFileSync(file, document);
  }
  console.log(`${held} recipes held, ${failed} did not`);
  if (held + failed === 0) return 2;
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main();

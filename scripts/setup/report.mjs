/**
 * How the set-up speaks: one line before each step, progress on the long ones,
 * one sentence and an exit code of its own for each kind of failure.
 *
 * Like everything the set-up needs before node_modules exists, this runs on any
 * Node >= 20 with no package.
 */

import { spawn } from 'node:child_process';

/** Exit codes of `npm run setup`, also of `npm start` and `npm test` while they set up. */
export const EXIT = { failed: 1, network: 3, disk: 4, permission: 5, platform: 6, docker: 7 };

/** A failure the reader can act on: `message` is one sentence that says what to do. */
export class SetupError extends Error {
  /** @param {number} exitCode @param {string} message @param {string} [detail] the tail of what a tool printed */
  constructor(exitCode, message, detail = '') {
    super(message);
    this.exitCode = exitCode;
    this.detail = detail;
  }
}

/** @param {string} line */
export function say(line) {
  process.stderr.write(`pyexec: ${line}\n`);
}

const HEARTBEAT_MS = 5000;

/**
 * Progress of one long step: a line that is rewritten on a terminal, and at
 * most one line every five seconds elsewhere.
 * @param {string} label
 */
export function progress(label) {
  const startedAt = Date.now();
  const seconds = () => `${Math.round((Date.now() - startedAt) / 1000)} s`;
  const isTerminal = process.stderr.isTTY === true;
  let detail = '';
  let printedAt = Date.now();

  const show = () => {
    if (isTerminal) {
      const line = `pyexec: ${label} … ${seconds()} ${detail}`;
      process.stderr.write(`\r\x1b[2K${line.slice(0, (process.stderr.columns || 80) - 1)}`);
    } else if (Date.now() - printedAt >= HEARTBEAT_MS) {
      printedAt = Date.now();
      say(`${label} … ${seconds()} ${detail}`.trimEnd());
    }
  };
  const timer = setInterval(show, isTerminal ? 250 : 1000);
  const clear = () => {
    clearInterval(timer);
    if (isTerminal) process.stderr.write('\r\x1b[2K');
  };

  return {
    /** @param {string} text */
    update(text) {
      detail = text;
    },
    done() {
      clear();
      say(`${label}: done in ${seconds()}`);
    },
    abandon: clear,
  };
}

// What is shown of a tool that failed: npm says why first, apt and debootstrap say it last.
const HEAD_LINES = 8;
const TAIL_LINES = 12;

/**
 * Runs a tool to its end as one step with progress, and turns its failure into a SetupError.
 * @param {string} label
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv}} [options]
 */
export async function runStep(label, command, args, options = {}) {
  const step = progress(label);
  /** @type {string[]} */
  const head = [];
  /** @type {string[]} */
  const tail = [];
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  /** @param {string} chunk */
  const read = (chunk) => {
    const lines = chunk.split(/[\r\n]+/).filter((line) => line.trim() !== '');
    for (const line of lines) (head.length < HEAD_LINES ? head : tail).push(line);
    if (tail.length > TAIL_LINES) tail.splice(0, tail.length - TAIL_LINES, '…');
    step.update((lines.at(-1) ?? '').trim());
  };
  child.stdout.setEncoding('utf8').on('data', read);
  child.stderr.setEncoding('utf8').on('data', read);

  const ending = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(code === 0 ? null : `exit ${code ?? signal}`));
  });
  if (ending !== null) {
    step.abandon();
    throw explain(label, [...head, ...tail, `${command}: ${ending}`].join('\n'));
  }
  step.done();
}

const CAUSES = [
  {
    pattern:
      /\b(ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|ENETUNREACH)\b|could not resolve|failure resolving|Failed to fetch|Failed getting release file|Couldn't download|network is unreachable|no such host|i\/o timeout/i,
    exitCode: EXIT.network,
    sentence: 'the network or the server it needs cannot be reached; check the connection and proxy, then run it again',
  },
  {
    pattern: /\bENOSPC\b|no space left/i,
    exitCode: EXIT.disk,
    sentence: 'the disk is full; free some space and run it again',
  },
  {
    pattern: /\b(EACCES|EPERM)\b|permission denied|operation not permitted|are you root/i,
    exitCode: EXIT.permission,
    sentence: 'this user may not do that; run it as a user that may, or as root',
  },
];

/**
 * @param {string} label what failed
 * @param {string} output what the tool said
 */
export function explain(label, output) {
  const cause = CAUSES.find(({ pattern }) => pattern.test(output));
  if (cause) return new SetupError(cause.exitCode, `${label} failed: ${cause.sentence}.`, output);
  return new SetupError(EXIT.failed, `${label} failed; what it printed is above.`, output);
}

/**
 * Runs a script's job; a SetupError becomes its sentence and its exit code.
 * @param {() => Promise<number | void>} job resolves to the exit code
 */
export async function runScript(job) {
  try {
    process.exitCode = (await job()) ?? 0;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    if (error.detail) process.stderr.write(`${error.detail.trim()}\n`);
    say(error.message);
    process.exitCode = error.exitCode;
  }
}

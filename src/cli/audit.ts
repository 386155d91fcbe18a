/**
 * `audit verify | head`: whether the audit log is as it was written.
 */
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { START } from '../audit/audit-chain.ts';
import { verifyChain } from '../audit/verify-chain.ts';
import { AuditHead } from '../store/audit-head.ts';
import type { CommandContext } from './keys.ts';

interface VerifyFlags {
  readonly from: number;
  readonly expect?: { readonly seq: number; readonly hash: string };
}

export function auditCommand({ stateDirectory, print }: CommandContext): Command {
  const audit = new Command('audit')
    .description('the audit log')
    .option('--state-dir <path>', 'the state directory; default: as the server, from PYEXEC_STATE_DIR');
  const directory = () => join(audit.opts<{ stateDir?: string }>().stateDir ?? stateDirectory(), 'audit');

  audit
    .command('verify')
    .description('say that the log is whole, or which line is the first that is not')
    .option('--from <number>', 'the first line there is to be, where older files were taken away', numberOf, 1)
    .option('--expect <head>', 'a head noted earlier, as `audit head` prints it', headOf)
    .action(({ from, expect }: VerifyFlags) => {
      const { ok, detail } = verifyChain(directory(), {
        head: readHead(directory()),
        from,
        ...(expect ? { expected: expect } : {}),
      });
      print(`${ok ? 'ok' : 'broken'}: ${detail}`);
      process.exitCode = ok ? 0 : 1;
    });

  audit
    .command('head')
    .description('number and hash of the last line; kept elsewhere, it shows a log that was written anew')
    .action(() => {
      const head = readHead(directory());
      if (!head) throw new Error('there is no audit log');
      print(`${String(head.seq)}:${head.hash}`);
    });

  return audit;
}

function readHead(directory: string) {
  if (!AuditHead.exists(directory)) return undefined;
  const keeper = AuditHead.open(directory, START, false);
  try {
    return keeper.read();
  } finally {
    keeper.close();
  }
}

function numberOf(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('It is the number of a line.');
  return Number(text);
}

function headOf(text: string): { readonly seq: number; readonly hash: string } {
  const [, seq = '', hash = ''] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (hash === '') throw new InvalidArgumentError('It is <number>:<hash>.');
  return { seq: Number(seq), hash };
}

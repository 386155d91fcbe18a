/**
 * `npm run crash-test`: kills the server hundreds of times and prints the verdict.
 *
 * Options: `--kills N` (300), `--seed N` (of the clock).
 */
import { parseArgs } from 'node:util';
import { crashRounds } from './crash-rounds.ts';

const { values } = parseArgs({ options: { kills: { type: 'string', default: '300' }, seed: { type: 'string' } } });
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const say = (line: string) => process.stdout.write(`${line}\n`);
say(`seed ${String(seed)}`);
const { violations, ...figures } = await crashRounds({ kills: Number(values.kills), seed, say });
for (const [what, figure] of Object.entries(figures)) say(`${what}: ${String(figure)}`);
for (const violation of violations) say(`VIOLATION ${violation}`);
say(violations.length === 0 ? 'Nothing lost, nothing twice, nothing left.' : `${String(violations.length)} violations`);
process.exitCode = violations.length === 0 ? 0 : 1;

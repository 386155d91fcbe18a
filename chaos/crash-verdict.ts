/**
 * What clients of killed servers were told, held against what the last server says: the sentences about what cannot
 * both be true. Pure.
 */
import type { Answered, Seen } from './crash-client.ts';
import { mayRunAgain } from './history.ts';

/** Whether no field of an end that was told is another in the end. */
export function isSameEnd(told: Seen, end: Seen): boolean {
  const now = end as unknown as Readonly<Record<string, unknown>>;
  return Object.entries(told).every(
    ([field, value]) => !JUDGED.has(field) || JSON.stringify(value) === JSON.stringify(now[field]),
  );
}

/** Fields of an end. A message of a webhook, or the last event, has others beside them. */
const JUDGED: ReadonlySet<string> = new Set(['outcome', 'status', 'exit_code', 'finished_at']);

interface KeptEvent extends Seen {
  readonly seq: number;
  readonly type: string;
}

/** @param events those that are fetched in the end, a line each. */
export function violationsOf(told: Answered, end: Seen, events: string): string[] {
  const violations: string[] = [];
  const wrong = (what: string) => violations.push(`${told.id}: ${what}`);
  const kind = end.outcome?.kind;
  if (kind === undefined) wrong('I1: it has no end');
  for (const seen of told.ends) {
    if (!isSameEnd(seen, end)) wrong('I2: it had another end before');
    if (seen.stdout !== undefined && seen.stdout !== end.stdout) wrong('I2: it had other output before');
  }
  const { stdout = '' } = end;
  const expected = told.prints;
  if (!expected.startsWith(stdout)) wrong(`I4: output that was never written: ${stdout.slice(0, 80)}`);
  if (kind === 'exited' && stdout !== expected) wrong('I4: it exited, and output is missing');
  const lines = new Map<number, string>();
  let last: Partial<KeptEvent> & { readonly seq: number } = { seq: 0 };
  const isTerminal = () => last.type === 'result' || last.type === 'error';
  for (const line of events.split('\n').filter((each) => each !== '')) {
    const event = JSON.parse(line) as KeptEvent;
    if (event.seq <= last.seq) wrong(`its events go from ${String(last.seq)} to ${String(event.seq)}`);
    if (event.seq !== last.seq + 1 && kind !== 'interrupted') wrong(`a gap before event ${String(event.seq)}`);
    if (isTerminal()) wrong('I1: an event after the last');
    lines.set(event.seq, line);
    last = event;
  }
  if (!isTerminal()) wrong('I1: its events have no end');
  else if (!isSameEnd(last as KeptEvent, end)) wrong('I2: its last event tells another end');
  for (const [seq, line] of told.events) {
    const kept = lines.get(seq);
    if (kept === undefined ? kind !== 'interrupted' : kept !== line) wrong(`event ${String(seq)} is another now`);
    if (seq > last.seq) wrong(`event ${String(seq)} was seen, and the last is ${String(last.seq)}`);
  }
  return violations;
}

/** I3: of the executions of a key, only the last may have an end that stays. Their last ends are those of the last server. */
export function keyViolationsOf(all: readonly Answered[]): string[] {
  const violations: string[] = [];
  const byKey = Map.groupBy(
    all.filter(({ key }) => key !== undefined),
    ({ key }) => key,
  );
  for (const [key, executions] of byKey) {
    const whole = executions.filter(({ ends }) => ends.at(-1)?.outcome?.kind === 'exited');
    if (whole.length > 1) violations.push(`I3: key ${String(key)} ran to its end ${String(whole.length)} times`);
    const before = executions.slice(0, -1).filter(({ ends }) => !mayRunAgain(ends.at(-1)));
    if (before.length > 0) violations.push(`I3: key ${String(key)} ran again after an end that stays`);
  }
  return violations;
}

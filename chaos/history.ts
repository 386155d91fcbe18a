/**
 * What clients were answered, and whether it can all be true: the claims of
 * docs/ARCHITECTURE.md, "Nothing lost", checked over a recorded history.
 *
 * What nobody was told, such as the fate of a request whose connection broke, is unknown
 * and no violation.
 */
import { FOREIGN, type Job } from './programs.ts';

export interface Seen {
  readonly status: string;
  /** Absent: its program never began. */
  readonly started_at?: string;
  readonly exit_code?: number;
  readonly outcome?: { readonly kind: string; readonly reason?: string };
  readonly stdout?: string;
  readonly truncated?: unknown;
}

export interface Accepted {
  readonly id: string;
  readonly job: Job;
  /** The terminal state that was seen first. */
  ended: Seen | undefined;
}

const OF_OURS = ['cancelled', 'interrupted', 'infrastructure_error'];
const TERMINAL = ['completed', 'failed', 'killed'];

export class History {
  readonly accepted = new Map<string, Accepted>();
  readonly #byKey = new Map<string, { ids: Set<string>; job: Job }>();
  readonly #violations: string[] = [];
  readonly counts: Record<string, number> = {};

  get violations(): readonly string[] {
    return this.#violations;
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  violated(claim: string, what: string): void {
    this.#violations.push(`${claim}: ${what}`);
  }

  accept(id: string, job: Job, key: string | undefined): Accepted {
    const known = this.accepted.get(id);
    if (known) return known;
    const accepted: Accepted = { id, job, ended: undefined };
    this.accepted.set(id, accepted);
    if (key !== undefined) {
      const same = this.#byKey.get(key) ?? { ids: new Set(), job };
      same.ids.add(id);
      this.#byKey.set(key, same);
    }
    return accepted;
  }

  /** An execution as it was answered. The first terminal state must be the last. */
  saw(accepted: Accepted, seen: Seen): void {
    const { id, job } = accepted;
    if (!TERMINAL.includes(seen.status)) {
      if (accepted.ended) this.violated('I2', `${id} ended as ${accepted.ended.status} and is ${seen.status} again`);
      return;
    }
    if (accepted.ended) {
      const same =
        accepted.ended.status === seen.status &&
        accepted.ended.exit_code === seen.exit_code &&
        JSON.stringify(accepted.ended.outcome) === JSON.stringify(seen.outcome) &&
        accepted.ended.stdout === seen.stdout;
      if (!same) {
        this.violated('I2', `${id} changed: ${brief(accepted.ended)} became ${brief(seen)}`);
      }
      return;
    }
    accepted.ended = seen;
    const kind = seen.outcome?.kind ?? 'none';
    this.count(`ended ${kind}`);
    const stdout = seen.stdout ?? '';
    if (stdout.includes(FOREIGN)) this.violated('I6', `${id} (${job.name}) found a trace of another run`);
    if (!job.outcomes.includes(kind) && !OF_OURS.includes(kind)) {
      this.violated('I2', `${id} (${job.name}) ended as ${brief(seen)}`);
    }
    if (kind === 'exited' && job.exitCode !== undefined && seen.exit_code !== job.exitCode) {
      this.violated('I2', `${id} (${job.name}) left with ${String(seen.exit_code)}, not ${String(job.exitCode)}`);
    }
    if (job.stdout === undefined) return;
    if (kind === 'exited' && seen.truncated === undefined && stdout !== job.stdout) {
      this.violated(
        'I4',
        `${id} (${job.name}) has ${String(stdout.length)} of ${String(job.stdout.length)} characters`,
      );
    } else if (!job.stdout.startsWith(stdout) && seen.truncated === undefined) {
      this.violated('I4', `${id} (${job.name}) has output its program did not write`);
    }
  }

  /**
   * After the last fault: everything that was accepted has ended, and each key ran once, unless it was interrupted or
   * failed on our side before its program began.
   */
  check(): void {
    for (const { id, job, ended } of this.accepted.values()) {
      if (!ended) this.violated('I1', `${id} (${job.name}) was accepted and has no end`);
    }
    for (const [key, { ids }] of this.#byKey) {
      const ends = [...ids].map((id) => this.accepted.get(id)).filter((accepted) => accepted !== undefined);
      const ran = ends.filter(({ ended }) => !mayRunAgain(ended));
      if (ran.length > 1) {
        this.violated('I3', `${key} stands for ${ran.map(({ id, ended }) => `${id} (${brief(ended)})`).join(', ')}`);
      }
    }
  }
}

/** Whether a key may run its program again after this end. */
export function mayRunAgain(ended: Pick<Seen, 'outcome' | 'started_at'> | undefined): boolean {
  const { kind, reason } = ended?.outcome ?? {};
  if (kind === 'interrupted') return true;
  if (ended?.started_at !== undefined) return false;
  return kind === 'infrastructure_error' || (kind === 'cancelled' && reason === 'shutdown');
}

function brief(seen: Seen | undefined): string {
  return seen ? `${seen.status} ${JSON.stringify(seen.outcome)} ${String(seen.exit_code)}` : 'no end';
}

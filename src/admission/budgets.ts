/**
 * What a caller may use in a window of time: CPU time of its runs, and memory
 * multiplied by the time it was held.
 *
 * Windows are fixed and the same for everybody: each begins when the one before
 * ends, counted from the epoch. What a run used is charged when it ends, to the
 * window that is on then. Until then what it may use at most is reserved, in full, also
 * where less is left: whoever ends first leaves nothing to others that those who go on
 * may use. So a caller goes over its budget by less than the one run that was let in last.
 */
import { ServiceError } from '../domain/errors.ts';
import type { ChargedUsage, UsageTable, UsageView } from '../domain/budget.ts';

/** Where what is left is only reserved: runs end sooner than windows. */
const RESERVED_RETRY_SECONDS = 5;

export interface BudgetOptions {
  readonly windowMs: number;
  /** Of one caller in one window; 0: no bound. */
  readonly cpuMsMax: number;
  readonly memoryMibMsMax: number;
  readonly table: UsageTable;
  /** The use could not be written down; it counts all the same until the service stops. */
  readonly onError: (error: unknown) => void;
  /** Unix milliseconds. */
  readonly now?: () => number;
}

/** What a run holds of its caller's budget. */
export interface BudgetHold {
  /** Gives it back and charges what was used. A second call has no effect. */
  settle(used: ChargedUsage): void;
}

interface Account {
  window: number;
  spent: ChargedUsage;
  reserved: ChargedUsage;
}

const NOTHING: ChargedUsage = { cpuMs: 0, memoryMibMs: 0 };

export class Budgets {
  readonly #options: BudgetOptions;
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();
  #sweptWindow: number;

  constructor(options: BudgetOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => Date.now());
    const window = this.#window();
    this.#sweptWindow = window;
    for (const { callerId, ...spent } of options.table.load(window)) {
      this.#accounts.set(callerId, { window, spent, reserved: NOTHING });
    }
  }

  /**
   * Reserves what a run may use at most, where anything is left.
   * @throws {ServiceError} budget_exhausted, with the seconds until there may be something again.
   */
  reserve(callerId: string, most: ChargedUsage): BudgetHold {
    const account = this.#account(callerId);
    const { cpuMsMax, memoryMibMsMax } = this.#options;
    this.#refuseIfNothingIsLeft('CPU time', account, 'cpuMs', cpuMsMax);
    this.#refuseIfNothingIsLeft('memory', account, 'memoryMibMs', memoryMibMsMax);
    account.reserved = plus(account.reserved, most, 1);
    let isSettled = false;
    return {
      settle: (used) => {
        if (isSettled) return;
        isSettled = true;
        const current = this.#account(callerId);
        current.reserved = plus(current.reserved, most, -1);
        this.#charge(callerId, current, used);
      },
    };
  }

  /** What a caller used and may use in the window that is on. */
  usage(callerId: string): UsageView {
    const { windowMs, cpuMsMax, memoryMibMsMax } = this.#options;
    const { window, spent, reserved } = this.#accounts.has(callerId)
      ? this.#account(callerId)
      : { window: this.#window(), spent: NOTHING, reserved: NOTHING };
    const seconds = (ms: number) => Math.round(ms) / 1000;
    const part = (name: keyof ChargedUsage, max: number) => ({
      used: seconds(spent[name]),
      reserved: seconds(max === 0 ? reserved[name] : Math.min(reserved[name], Math.max(0, max - spent[name]))),
      ...(max === 0 ? {} : { limit: seconds(max) }),
    });
    return {
      window_seconds: windowMs / 1000,
      window_ends_at: new Date((window + 1) * windowMs).toISOString(),
      cpu_seconds: part('cpuMs', cpuMsMax),
      memory_mib_seconds: part('memoryMibMs', memoryMibMsMax),
    };
  }

  #refuseIfNothingIsLeft(what: string, account: Account, name: keyof ChargedUsage, max: number): void {
    if (max === 0 || account.spent[name] + account.reserved[name] < max) return;
    const isSpent = account.spent[name] >= max;
    const windowEndsInMs = (account.window + 1) * this.#options.windowMs - this.#now();
    throw new ServiceError(
      'budget_exhausted',
      isSpent
        ? `The ${what} of this caller is used up until the window ends.`
        : `What is left of the ${what} of this caller is reserved for its runs in progress.`,
      {
        retryAfterSeconds: isSpent
          ? Math.max(1, Math.ceil(windowEndsInMs / 1000))
          : Math.max(1, Math.min(RESERVED_RETRY_SECONDS, Math.ceil(windowEndsInMs / 1000))),
      },
    );
  }

  #charge(callerId: string, account: Account, used: ChargedUsage): void {
    account.spent = plus(account.spent, used, 1);
    try {
      this.#options.table.save(account.window, { callerId, ...account.spent });
    } catch (error) {
      this.#options.onError(error);
    }
  }

  /** The account as it is in the window that is on. */
  #account(callerId: string): Account {
    const window = this.#window();
    if (window !== this.#sweptWindow) this.#sweep(window);
    let account = this.#accounts.get(callerId);
    if (!account) this.#accounts.set(callerId, (account = { window, spent: NOTHING, reserved: NOTHING }));
    if (account.window !== window) {
      account.window = window;
      account.spent = NOTHING;
    }
    return account;
  }

  /** Forgets whoever has nothing in progress: what they spent belongs to a window that is over. */
  #sweep(window: number): void {
    this.#sweptWindow = window;
    for (const [callerId, { reserved }] of this.#accounts) {
      if (reserved.cpuMs < 0.5 && reserved.memoryMibMs < 0.5) this.#accounts.delete(callerId);
    }
  }

  #window(): number {
    return Math.floor(this.#now() / this.#options.windowMs);
  }
}

function plus(one: ChargedUsage, other: ChargedUsage, sign: 1 | -1): ChargedUsage {
  return {
    cpuMs: Math.max(0, one.cpuMs + sign * other.cpuMs),
    memoryMibMs: Math.max(0, one.memoryMibMs + sign * other.memoryMibMs),
  };
}

/**
 * What survives a restart: the state directory, the records in it, and their keeping.
 */
import { ConfigError, type Config } from '../config/config.ts';
import type { ExecutionId } from '../domain/execution.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { Executions } from '../execution/executions.ts';
import { mayLackSpace } from '../store/database.ts';
import { AdvisoryTable } from '../store/advisory-table.ts';
import { DiskReserve } from '../store/disk-reserve.ts';
import { ExecutionStore } from '../store/execution-store.ts';
import { StateDirectory, StateDirectoryError } from '../store/state-directory.ts';
import { Sweeper } from '../store/sweeper.ts';
import { UsageTable } from '../store/usage-table.ts';
import { WebhookTable } from '../store/webhook-table.ts';
import type { Logger } from '../telemetry/logger.ts';

const MIB = 2 ** 20;
const SWEEP_INTERVAL_MS = 5000;

export interface State {
  readonly directory: StateDirectory;
  readonly store: ExecutionStore;
  readonly webhooks: WebhookTable;
  /** Absent where nobody has a budget. */
  readonly usage: UsageTable | undefined;
  /** Absent where packages are compared with no source of advisories. */
  readonly advisories: AdvisoryTable | undefined;
  readonly sweeper: Sweeper;
  /** See ExecutionStore.showing; a failure is logged. */
  readonly showing: (id: ExecutionId, seq: number) => void;
  /** Gives the directory up to the next server. */
  close(): Promise<void>;
}

/** @throws {ConfigError} naming the setting, when the directory or what is in it cannot be used. */
export function openState(config: Config, logger: Logger): State {
  const directory = usable(() => StateDirectory.open(config.PYEXEC_STATE_DIR));
  const reserves = [new DiskReserve(directory.path, 'start'), new DiskReserve(directory.path, 'ends')];
  const refill = () => {
    for (const reserve of reserves) reserve.fill();
  };
  // Databases that are closed leave room: what the next start needs is set aside before anybody else takes it.
  const opened: { close(): void }[] = [{ close: refill }, directory];
  const open = <T extends { close(): void }>(database: () => T): T => {
    const made = usable(() => withReserves(reserves, database));
    opened.unshift(made);
    return made;
  };
  const closeAll = () => {
    for (const each of opened) each.close();
  };
  let store: ExecutionStore;
  let webhooks: WebhookTable;
  let usage: UsageTable | undefined;
  let advisories: AdvisoryTable | undefined;
  try {
    store = open(
      () =>
        new ExecutionStore(directory, {
          ttlMs: config.PYEXEC_CLEANUP_TTL * 1000,
          bytesMax: config.PYEXEC_STORE_MAX_MB * MIB,
          countMax: config.PYEXEC_STORE_MAX_EXECUTIONS,
        }),
    );
    webhooks = open(() => new WebhookTable(directory.path));
    const hasBudgets = config.PYEXEC_BUDGET_CPU_SECONDS + config.PYEXEC_BUDGET_MEMORY_MIB_SECONDS > 0;
    usage = hasBudgets ? open(() => new UsageTable(directory.path)) : undefined;
    advisories = config.PYEXEC_ADVISORIES_URL === '' ? undefined : open(() => new AdvisoryTable(directory.path));
  } catch (error) {
    closeAll();
    throw error;
  }
  refill();
  const onError = (error: unknown) => {
    logger.error({ err: error }, 'the records of executions could not be kept in order; it is tried again');
  };
  const sweeper = new Sweeper({ directory, store, reserves, intervalMs: SWEEP_INTERVAL_MS, onError });
  return {
    directory,
    store,
    webhooks,
    usage,
    advisories,
    sweeper,
    showing: (id, seq) => {
      try {
        store.showing(id, seq);
      } catch (error) {
        onError(error);
      }
    },
    close: async () => {
      await sweeper.stop();
      closeAll();
    },
  };
}

/**
 * Ends what a crash left without an end, and keeps the records within their bounds from now on.
 * @param beforeForgetting done before the first record is removed.
 */
export async function keepState(
  state: State,
  executions: Executions,
  logger: Logger,
  onRecovered: (id: ExecutionId, outcome: Outcome | undefined) => void,
  beforeForgetting: () => Promise<void>,
): Promise<void> {
  const { sweeper } = state;
  const recover = async () => {
    for (const { execution_id, outcome } of await executions.recover()) {
      logger.warn({ execution_id, outcome }, 'an execution was left without an end, and was given one');
      onRecovered(execution_id, outcome);
    }
  };
  await sweeper.guard(recover);
  await beforeForgetting();
  void sweeper.removeStrays();
  sweeper.start(recover);
}

/** Whether an execution could be recorded now. */
export function storageReadiness(store: ExecutionStore): { readonly ok: boolean; readonly detail?: string } {
  try {
    store.probe();
    return { ok: true };
  } catch {
    return { ok: false, detail: 'executions cannot be recorded: the disk is full or fails' };
  }
}

/** A full disk stops no start: the space that was set aside is for this, one file of it after the other. */
function withReserves<T>([next, ...others]: readonly DiskReserve[], open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (next === undefined || !mayLackSpace(error)) throw error;
    next.release();
    return withReserves(others, open);
  }
}

function usable<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (mayLackSpace(error)) throw new ConfigError('PYEXEC_STATE_DIR: its disk is full, or fails; make room on it');
    if (error instanceof StateDirectoryError) throw new ConfigError(`PYEXEC_STATE_DIR: ${error.message}`);
    throw error;
  }
}

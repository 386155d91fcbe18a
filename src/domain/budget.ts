/**
 * What callers used of their budgets: as it is counted, kept and shown.
 */
export interface ChargedUsage {
  readonly cpuMs: number;
  /** Memory limit in MiB, times milliseconds. */
  readonly memoryMibMs: number;
}

/** Where use is kept, so that a restart forgives nothing. */
export interface UsageTable {
  /** What was used in this window; windows before it are forgotten. */
  load(window: number): readonly ({ readonly callerId: string } & ChargedUsage)[];
  /** Sets what a caller used in a window. */
  save(window: number, used: { readonly callerId: string } & ChargedUsage): void;
}

/** As it goes over the wire. */
export interface UsageView {
  readonly window_seconds: number;
  readonly window_ends_at: string;
  readonly cpu_seconds: UsagePart;
  readonly memory_mib_seconds: UsagePart;
}

interface UsagePart {
  readonly used: number;
  /** What runs in progress may still use. */
  readonly reserved: number;
  /** Absent: no bound. */
  readonly limit?: number;
}

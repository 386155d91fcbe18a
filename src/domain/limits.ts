/**
 * The limits of one run, in the units their names say. Nothing here means
 * "unlimited": every limit is a positive number (zero is refused by the schemas).
 */

export interface Limits {
  /** From the release of the program to its last process, monotonic. */
  readonly wall_ms: number;
  /** User plus system time of all processes of the program; of one process, where the cgroup cannot be read. */
  readonly cpu_ms: number;
  /** The program's memory together with its files in /work, /tmp and /dev/shm; there is no swap. */
  readonly memory_bytes: number;
  /** Processes and threads at one time, the supervisor's included. */
  readonly pids: number;
  /** Size of the file system at /work. */
  readonly disk_bytes: number;
  /** What is kept of stdout, and as much again of stderr. */
  readonly output_bytes: number;
  /** File descriptors per process (RLIMIT_NOFILE). */
  readonly open_files: number;
  /** CPU bandwidth in cores; 1.5 is one and a half. */
  readonly cpus: number;
}

export type LimitName = keyof Limits;

/** What happens when stdout or stderr passes `output_bytes`. */
export type OverflowPolicy = 'truncate' | 'kill';

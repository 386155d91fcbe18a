/**
 * How many threads numerical libraries start: as many as the run has processors. Pure.
 *
 * They would count the machine's processors, start a thread for each, and have the
 * quota stop them all in turn. The variables are set for each run, because the quota
 * is the run's; none of them makes a new interpreter necessary. What the caller sets wins.
 */

const VARIABLES = [
  'OMP_NUM_THREADS',
  'OPENBLAS_NUM_THREADS',
  'MKL_NUM_THREADS',
  'NUMEXPR_NUM_THREADS',
  'LOKY_MAX_CPU_COUNT',
  'POLARS_MAX_THREADS',
] as const;

/** @param cpus the run's quota in processors; a part of one is one. */
export function threadCounts(cpus: number): Readonly<Record<string, string>> {
  const threads = String(Math.max(1, Math.floor(cpus)));
  return Object.fromEntries(VARIABLES.map((name) => [name, threads]));
}

/** Every program of the differential suite, by topic. */
import type { Programs } from '../../../support/differential-program.ts';
import { CONCURRENCY } from './concurrency.ts';
import { DIFFERENCES } from './differences.ts';
import { SYNTAX, TRACEBACKS, WARNINGS } from './errors.ts';
import { EXITS } from './exits.ts';
import { IDENTITY } from './identity.ts';
import { LIBRARIES } from './libraries.ts';
import { MULTIPROCESSING, PROCESSES, SIGNALS } from './processes.ts';
import { PROJECTS } from './projects.ts';
import { STREAMS } from './streams.ts';

export const PROGRAMS: Readonly<Record<string, Programs>> = {
  exits: EXITS,
  tracebacks: TRACEBACKS,
  'syntax errors': SYNTAX,
  warnings: WARNINGS,
  identity: IDENTITY,
  projects: PROJECTS,
  signals: SIGNALS,
  processes: PROCESSES,
  multiprocessing: MULTIPROCESSING,
  streams: STREAMS,
  concurrency: CONCURRENCY,
  libraries: LIBRARIES,
  differences: DIFFERENCES,
};

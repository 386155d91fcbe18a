/**
 * What the three request forms have in common: what they read from and what they
 * make of it.
 */
import type { Project } from '../../domain/project.ts';
import type { Exchange } from '../exchanges.ts';
import type { ProjectGate } from '../../execution/project-gate.ts';
import type { AskedRun } from './run-options.ts';

/** A project that passed the gate, and what to do with it. Whoever holds it must dispose of the project. */
export interface AskedProject extends AskedRun {
  readonly project: Project;
}

export interface FormContext {
  readonly gate: ProjectGate;
  readonly exchange: Exchange;
  readonly bodyBytesMax: number;
  /** Most bytes of a JSON text: it is held in memory, several times while it is parsed. */
  readonly jsonBytesMax: number;
}

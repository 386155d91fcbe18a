/**
 * From a request and its project to the plan of a run, and to what is to be made ready for it: packages, a report.
 *
 * It reads and judges; nothing is accepted, built or started here.
 */
import type { Caller } from '../domain/caller.ts';
import type { RunPlan, RunRequest, SandboxShape } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';
import { decide, type OperatorPolicy } from '../policy/decide.ts';
import { withOverlays } from '../policy/inputs.ts';
import { choosePreimports, mayUsePreimports, topLevelOf } from '../policy/preimports.ts';
import { withinCaller } from '../policy/within-caller.ts';
import type { EarlierFilesOptions } from './earlier-files.ts';
import { inputOverlays } from './input-overlays.ts';
import { importsAmong } from './program-imports.ts';
import type { AskedAnalysis, RunAnalysis } from './run-analysis.ts';
import type { AskedPackages, RunPackages } from './run-packages.ts';

export interface PlanningOptions {
  readonly policy: OperatorPolicy;
  /** How a project is checked and kept that files of earlier executions join. */
  readonly projects: EarlierFilesOptions;
  /** The local image a request of this caller means. Throws image_not_allowed or image_unavailable. */
  readonly resolveImage: (
    reference: string | undefined,
    caller: Caller,
  ) => Promise<{ reference: string; id: string; labels?: Readonly<Record<string, string>> }>;
  /** Absent: nothing can be installed. */
  readonly packages?: RunPackages;
  /** Absent: no code is analyzed. */
  readonly analysis?: RunAnalysis;
  /** Sets of modules that sandboxes of a shape are kept with. */
  readonly preimportsOffered: (shape: SandboxShape) => readonly (readonly string[])[];
}

export interface PlannedRun {
  readonly plan: RunPlan;
  readonly packages: AskedPackages | undefined;
  readonly analysis: AskedAnalysis | undefined;
}

/** @throws {ServiceError} everything in policy/, image_*, requirements_*, analysis_*. */
export async function planRun(
  request: RunRequest,
  project: Project,
  caller: Caller,
  options: PlanningOptions,
): Promise<PlannedRun> {
  const image = await options.resolveImage(request.image, caller);
  const packages = options.packages?.read(request, image.labels);
  const policy = withinCaller(options.policy, caller);
  const decided = decide(request, project, image, policy);
  const withFiles = request.inputs ? await withInputFiles(decided, request.inputs, project, policy, options) : decided;
  const plan = packages ? withFiles : await withPreimports(withFiles, request, project, options);
  const analysis = await options.analysis?.read(request, plan, project, caller);
  return { plan, packages, analysis };
}

/** The plan with the files that its inputs bring along. */
async function withInputFiles(
  plan: RunPlan,
  inputs: NonNullable<RunRequest['inputs']>,
  project: Project,
  policy: OperatorPolicy,
  { projects }: PlanningOptions,
): Promise<RunPlan> {
  return withOverlays(plan, await inputOverlays(inputs.list, project, projects), project, policy);
}

/** The plan in a sandbox that has imported already what the program imports, where there are such. */
async function withPreimports(
  plan: RunPlan,
  request: RunRequest,
  project: Project,
  { preimportsOffered }: PlanningOptions,
): Promise<RunPlan> {
  const offers = mayUsePreimports(plan, request) ? preimportsOffered(plan.shape) : [];
  if (offers.length === 0) return plan;
  const laid = plan.inputs?.list.flatMap(({ overlay }) => overlay?.paths ?? []);
  const imported = await importsAmong(new Set(offers.flat().map(topLevelOf)), project, laid);
  return { ...plan, shape: { ...plan.shape, preimports: choosePreimports(offers, imported) } };
}

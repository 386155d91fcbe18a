/**
 * What may be asked for a program with many inputs. Pure.
 *
 * The sandbox keeps the project and all inputs in its memory until they are run, so
 * all of them together are bounded as the stdin of a single run is.
 */
import { ServiceError } from '../domain/errors.ts';
import { inputField, type InputsLimits, type Overlay } from '../domain/inputs.ts';
import type { RunPlan, RunRequest } from '../domain/plan.ts';
import { diskBytes, type Project } from '../domain/project.ts';
import { checkArguments } from './arguments.ts';

/** What the operator says of inputs. */
export interface InputsPolicy {
  readonly inputs: InputsLimits;
  readonly stdinBytesMax: number;
}

/** The sandbox keeps the project, to restore it between inputs. */
const INPUTS_TAR_BYTES_MAX = 8 << 20;

/**
 * The inputs of a plan, as far as they can be judged without their files.
 * @throws {ServiceError} invalid_request, body_too_large, project_too_large.
 */
export function planInputs(request: RunRequest, project: Project, policy: InputsPolicy): Pick<RunPlan, 'inputs'> {
  const { inputs } = request;
  if (!inputs) return {};
  const refuse = (reason: string, maximum?: number) =>
    new ServiceError('invalid_request', reason, {
      members: { field: 'inputs', ...(maximum === undefined ? {} : { maximum }) },
    });
  if (inputs.list.length === 0) throw refuse('There are no inputs.');
  const { count } = policy.inputs;
  if (inputs.list.length > count) throw refuse(`There may be at most ${String(count)} inputs.`, count);
  if (request.args.length > 0 || request.stdin.length > 0) {
    throw refuse('Arguments and stdin are said for each of the inputs, not beside them.');
  }
  if (request.preCommands.length > 0) throw refuse('Commands before the program cannot be had with many inputs.');
  if (project.tarBytes > INPUTS_TAR_BYTES_MAX) {
    throw new ServiceError(
      'project_too_large',
      `A project with many inputs may have at most ${String(INPUTS_TAR_BYTES_MAX)} bytes.`,
      { members: { maximum: INPUTS_TAR_BYTES_MAX } },
    );
  }
  for (const [index, { args }] of inputs.list.entries()) checkArguments(args, inputField(index, 'args'));
  const list = inputs.list.map(({ args, stdin }) => ({ args, stdin }));
  checkBytes(list, policy.stdinBytesMax);
  return { inputs: { list, stopOnFailure: inputs.stopOnFailure, limits: policy.inputs } };
}

/**
 * The plan with the files of its inputs.
 * @param overlays one for each input, or none at all.
 * @throws {ServiceError} body_too_large, project_too_large.
 */
export function withOverlays(
  plan: RunPlan,
  overlays: readonly (Overlay | undefined)[],
  project: Project,
  policy: InputsPolicy,
): RunPlan {
  const { inputs } = plan;
  if (!inputs || overlays.length === 0) return plan;
  const ofProject = diskBytes(project.entries);
  const list = inputs.list.map((input, index) => {
    const overlay = overlays[index];
    if (!overlay) return input;
    const maximum = plan.limits.disk_bytes;
    if (ofProject + overlay.diskBytes > maximum) {
      const field = inputField(index, 'files');
      throw new ServiceError(
        'project_too_large',
        `${field}: The project with these files is larger than the ${String(maximum)} bytes of its /work.`,
        { members: { field, maximum } },
      );
    }
    return { ...input, overlay };
  });
  checkBytes(list, policy.stdinBytesMax);
  return { ...plan, inputs: { ...inputs, list } };
}

/** What the inputs of a plan take of memory: their stdin, and their files as they are sent. */
export function inputBytes(list: NonNullable<RunPlan['inputs']>['list']): number {
  return list.reduce((sum, { stdin, overlay }) => sum + stdin.length + (overlay?.tar.length ?? 0), 0);
}

function checkBytes(list: NonNullable<RunPlan['inputs']>['list'], maximum: number): void {
  if (inputBytes(list) <= maximum) return;
  throw new ServiceError(
    'body_too_large',
    `The stdin and the files of all inputs together may take at most ${String(maximum)} bytes, a file at least 1024.`,
    { members: { field: 'inputs', maximum } },
  );
}

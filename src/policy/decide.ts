/**
 * What will be run: the request, within what the operator allows. Pure.
 *
 * Nothing is silently lowered: a limit above the operator's maximum is refused,
 * naming the maximum. The one exception is the disk, which is cut to what the
 * memory can hold, because it is memory; the execution reports what was applied.
 */
import type { ArtifactLimits } from '../domain/artifacts.ts';
import type { DisplayLimits } from '../domain/displays.ts';
import { ServiceError } from '../domain/errors.ts';
import type { InputsLimits } from '../domain/inputs.ts';
import type { LimitName, Limits } from '../domain/limits.ts';
import type { EntryPoint, RunPlan, RunRequest, SandboxShape } from '../domain/plan.ts';
import type { Project } from '../domain/project.ts';
import { checkArguments } from './arguments.ts';
import { artifactWish } from './artifact-wish.ts';
import { commandChain } from './command-chain.ts';
import { chooseEntryPoint } from './entry-point.ts';
import { checkEnvironment } from './environment.ts';
import { planInputs } from './inputs.ts';
import { threadCounts } from './thread-counts.ts';

export interface OperatorPolicy {
  readonly defaults: Limits;
  readonly maxima: Limits;
  readonly runtime: string;
  /** Docker network for runs that may use one; `none` when none may. */
  readonly network: string;
  readonly stdinBytesMax: number;
  /** How long a run waits for a place whose request does not say; absent: as long as it takes. */
  readonly queueTimeoutMs?: number;
  readonly inputs: InputsLimits;
  /** Absent: nothing a run leaves behind is ever collected. */
  readonly artifacts?: ArtifactLimits;
  /** Absent: nothing a run shows is ever taken. */
  readonly displays?: DisplayLimits;
}

/** The smallest value of each limit with which Python starts at all. */
const MINIMA: Limits = {
  wall_ms: 1,
  cpu_ms: 1,
  memory_bytes: 32 << 20,
  pids: 8,
  disk_bytes: 1 << 20,
  output_bytes: 1,
  open_files: 16,
  cpus: 0.05,
};

/** /tmp is this part of the memory, but not more than the cap. */
const TMP_MEMORY_SHARE = 1 / 8;
const TMP_BYTES_MAX = 128 << 20;
/** /work can fill at most this part of the memory, so that a full disk is met before the memory limit. */
const WORK_MEMORY_SHARE = 1 / 2;

function applyLimits(asked: Partial<Limits>, policy: OperatorPolicy): Limits {
  const applied = { ...policy.defaults };
  for (const name of Object.keys(asked) as LimitName[]) {
    const value = asked[name];
    if (value === undefined) continue;
    if (!(value >= MINIMA[name])) {
      throw new ServiceError('invalid_request', `limits.${name} must be at least ${String(MINIMA[name])}.`, {
        members: { field: `limits.${name}`, minimum: MINIMA[name] },
      });
    }
    if (value > policy.maxima[name]) {
      throw new ServiceError('limit_too_high', `limits.${name} may be at most ${String(policy.maxima[name])}.`, {
        members: { field: `limits.${name}`, maximum: policy.maxima[name] },
      });
    }
    applied[name] = value;
  }
  if (asked.cpu_ms === undefined) {
    applied.cpu_ms = Math.min(policy.maxima.cpu_ms, Math.ceil(applied.wall_ms * Math.max(1, applied.cpus)));
  }
  // Without a wish, the disk is what the default memory can hold, so that a plan that only raises a limit keeps the shape.
  const diskDefault = Math.min(
    policy.defaults.disk_bytes,
    Math.floor(policy.defaults.memory_bytes * WORK_MEMORY_SHARE),
  );
  applied.disk_bytes = Math.min(asked.disk_bytes ?? diskDefault, Math.floor(applied.memory_bytes * WORK_MEMORY_SHARE));
  return applied;
}

function shapeOf(
  limits: Limits,
  image: { readonly reference: string; readonly id: string },
  policy: OperatorPolicy,
  wantsNetwork: boolean,
  preimports: readonly string[] = [],
): SandboxShape {
  return {
    image: image.reference,
    imageId: image.id,
    runtime: policy.runtime,
    network: wantsNetwork ? policy.network : 'none',
    memoryBytes: limits.memory_bytes,
    pids: limits.pids,
    cpus: limits.cpus,
    workBytes: limits.disk_bytes,
    tmpBytes: Math.min(TMP_BYTES_MAX, Math.floor(limits.memory_bytes * TMP_MEMORY_SHARE)),
    preimports,
  };
}

/** The shape of a request that asks for nothing special: what is worth keeping warm. */
export function defaultShape(
  image: { readonly reference: string; readonly id: string },
  policy: OperatorPolicy,
  preimports: readonly string[] = [],
): SandboxShape {
  return shapeOf(applyLimits({}, policy), image, policy, false, preimports);
}

/**
 * The plan for a request, complete and final.
 * @param image the local image the request means, already checked against the allow-list.
 * @throws {ServiceError} limit_too_high, invalid_request, network_not_allowed, entrypoint_missing,
 *   invalid_entrypoint, invalid_environment, project_too_large.
 */
export function decide(
  request: RunRequest,
  project: Project,
  image: { readonly reference: string; readonly id: string },
  policy: OperatorPolicy,
): RunPlan {
  const limits = applyLimits(request.limits, policy);
  if (request.wantsNetwork && policy.network === 'none') {
    throw new ServiceError(
      'network_not_allowed',
      'Runs have no network on this server; leave network_disabled out or set it to true.',
    );
  }
  if (request.stdin.length > policy.stdinBytesMax) {
    throw new ServiceError('body_too_large', `stdin may be at most ${String(policy.stdinBytesMax)} bytes.`, {
      members: { field: 'stdin', maximum: policy.stdinBytesMax },
    });
  }
  if (project.contentBytes > limits.disk_bytes) {
    throw new ServiceError(
      'project_too_large',
      `The project is larger than the ${String(limits.disk_bytes)} bytes of its /work.`,
      {
        members: { maximum: limits.disk_bytes },
      },
    );
  }
  checkEnvironment(request.environment);
  const entryPoint: EntryPoint = chooseEntryPoint(
    request.entryPoint,
    project,
    request.preCommands.length > 0 || request.toleratesMissingEntryPoint === true,
  );
  checkArguments(request.args, 'args');
  const queueTimeoutMs = request.queueTimeoutMs ?? policy.queueTimeoutMs;
  // What one input leaves is gone before the next.
  const artifacts = request.inputs ? undefined : artifactWish(request.artifacts, policy.artifacts);
  return {
    shape: shapeOf(limits, image, policy, request.wantsNetwork),
    entryPoint,
    args: request.args,
    stdin: request.stdin,
    environment: { ...threadCounts(limits.cpus), ...request.environment },
    commandChain: commandChain(request.preCommands, entryPoint, request.args),
    wantsLastValue: request.wantsLastValue ?? false,
    limits,
    onOverflow: request.onOverflow,
    ...(queueTimeoutMs === undefined ? {} : { queueTimeoutMs }),
    ...(artifacts ? { artifacts } : {}),
    ...(request.wantsDisplays && !request.inputs && policy.displays && policy.displays.count > 0
      ? { displays: policy.displays }
      : {}),
    ...planInputs(request, project, policy),
  };
}

/**
 * What was asked for and what will be run.
 *
 * A RunRequest is what a door understood of its caller; policy turns it into a
 * RunPlan, which is complete and final: whoever holds a plan needs no other
 * source to run it. Both are immutable values.
 */
import type { ArtifactWish } from './artifacts.ts';
import type { DisplayLimits } from './displays.ts';
import type { AskedInput, Inputs, InputsLimits, RunInput } from './inputs.ts';
import type { Limits, OverflowPolicy } from './limits.ts';
import type { Webhook } from './webhook.ts';

/** What Python is told to run: a file of the project, or a module by name (`-m`). */
export type EntryPoint =
  { readonly kind: 'script'; readonly path: string } | { readonly kind: 'module'; readonly name: string };

/** Which of a caller's own runs goes first; it changes nothing between callers. */
export type Priority = 'low' | 'normal' | 'high';

/** A file an earlier execution left, or all it left, for the project of this one. */
export interface FilesFrom {
  readonly executionId: string;
  /** As the earlier execution lists it; absent: all of its artifacts. */
  readonly path?: string;
  /** Where it goes in the project; where all are meant, the folder. Absent: where it was. */
  readonly as?: string;
}

export interface RunRequest {
  /** Absent: found in the project (main.py, __main__.py, the only .py file). */
  readonly entryPoint?: EntryPoint;
  readonly args: readonly string[];
  readonly stdin: Uint8Array;
  readonly environment: Readonly<Record<string, string>>;
  /** Absent: the operator's default image. */
  readonly image?: string;
  readonly limits: Partial<Limits>;
  readonly onOverflow: OverflowPolicy;
  /** Whether the caller asked for network access. */
  readonly wantsNetwork: boolean;
  /** Shell commands run before the program, in the same sandbox, joined by `&&`. */
  readonly preCommands: readonly string[];
  /** Whether the value of the program's last expression is wanted. */
  readonly wantsLastValue?: boolean;
  /** Packages the program needs, as the text of a requirements file; absent or empty: none. */
  readonly requirements?: string;
  /** Packages it seems to need. It runs without them where they cannot be had. */
  readonly suggestedPackages?: readonly string[];
  /** Whether a report about its code is wanted. */
  readonly wantsAnalysis?: boolean;
  /** Whether figures, tables and pictures it shows are wanted. */
  readonly wantsDisplays?: boolean;
  /** Absent: nothing the run leaves behind is collected. */
  readonly artifacts?: Pick<ArtifactWish, 'patterns' | 'inlineBytes'>;
  /** Files of earlier executions that become part of the project. */
  readonly filesFrom?: readonly FilesFrom[];
  /** Whether a missing entry point is Python's to report rather than ours to refuse. */
  readonly toleratesMissingEntryPoint?: boolean;
  /** Absent: normal. */
  readonly priority?: Priority;
  /** How long it may wait for a place to run; absent: as the operator says. */
  readonly queueTimeoutMs?: number;
  /** Who is told when it has ended. */
  readonly webhook?: Webhook;
  /** The program is run once for each, instead of once with `args` and `stdin`. */
  readonly inputs?: Inputs<AskedInput>;
}

/** What a container is made of. Two plans of the same shape can use the same warm container. */
export interface SandboxShape {
  /** Image reference as configured, for people and labels. */
  readonly image: string;
  /** Content-addressed image id (`sha256:...`), what is really run. */
  readonly imageId: string;
  /** The layer of packages in that image, by its key; absent: the image is as the operator has it. */
  readonly layer?: string;
  /** OCI runtime name the daemon knows (`runc`, `runsc`, ...). */
  readonly runtime: string;
  /** Docker network mode; `none` unless the operator allows more. */
  readonly network: string;
  readonly memoryBytes: number;
  readonly pids: number;
  readonly cpus: number;
  readonly workBytes: number;
  readonly tmpBytes: number;
  /** Modules imported before the program comes, in this order; empty: none. */
  readonly preimports: readonly string[];
}

export interface RunPlan {
  readonly shape: SandboxShape;
  readonly entryPoint: EntryPoint;
  readonly args: readonly string[];
  readonly stdin: Uint8Array;
  readonly environment: Readonly<Record<string, string>>;
  /** Shell commands that end in the program itself, joined by `&&`; empty: the program alone. */
  readonly commandChain: readonly string[];
  readonly wantsLastValue: boolean;
  readonly limits: Limits;
  readonly onOverflow: OverflowPolicy;
  /** How long it waits for a place to run before it ends without one; absent: as long as it takes. */
  readonly queueTimeoutMs?: number;
  /** Absent: what it shows is shown to nobody. */
  readonly displays?: DisplayLimits;
  /** Absent: one run with `args` and `stdin`. `limits` hold for each input. */
  readonly inputs?: Inputs<RunInput> & { readonly limits: InputsLimits };
  /** Absent: nothing is collected. */
  readonly artifacts?: ArtifactWish;
}

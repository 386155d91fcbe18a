/**
 * The positive control of the isolation tests: a container exactly like a sandbox
 * but for the guards a test names. What fails in the sandbox must succeed here,
 * or the test has shown nothing.
 *
 * The program is PID 1 of its container, without the supervisor, and is one of the
 * harmless probes of isolation-probe.ts.
 */
import { readFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import type Docker from 'dockerode';
import { parseConfig } from '../../src/config/config.ts';
import { AttachDemultiplexer } from '../../src/sandbox/attach-demultiplexer.ts';
import { containerSpec } from '../../src/sandbox/container-spec.ts';
import { SLIM } from './images.ts';
import { factsOf, type Facts } from './isolation-probe.ts';
import { docker } from './isolation-sandbox.ts';

const MIB = 2 ** 20;
const CONTROL_DEADLINE_MS = 45_000;
/** Beyond the uids any engine of a test run gets to. */
const CONTROL_UID = 19_000;

type Spec = Docker.ContainerCreateOptions & { HostConfig: Docker.HostConfig };

/**
 * What a probe of ours can make use of. Not ALL: a daemon that lacks a single one
 * itself, as in a virtual machine that took it away, could not start the control.
 */
const CAPABILITIES = [
  ...[
    'CHOWN',
    'DAC_OVERRIDE',
    'DAC_READ_SEARCH',
    'FOWNER',
    'KILL',
    'MKNOD',
    'NET_ADMIN',
    'NET_RAW',
    'SETGID',
    'SETUID',
  ],
  ...[
    'SYS_ADMIN',
    'SYS_BOOT',
    'SYS_CHROOT',
    'SYS_MODULE',
    'SYS_PACCT',
    'SYS_PTRACE',
    'SYS_RAWIO',
    'SYS_TIME',
    'SYSLOG',
  ],
] as const;

/** What each guard is, said by what takes it away. */
const WITHOUT = {
  seccomp: ({ HostConfig }) => {
    HostConfig.SecurityOpt = [...securityOptionsBut(HostConfig, 'seccomp='), 'seccomp=unconfined'];
  },
  no_new_privileges: ({ HostConfig }) => {
    HostConfig.SecurityOpt = securityOptionsBut(HostConfig, 'no-new-privileges');
  },
  no_capabilities: ({ HostConfig }) => {
    HostConfig.CapDrop = [];
    HostConfig.CapAdd = [...CAPABILITIES];
  },
  unprivileged_user: (spec) => {
    spec.User = '0:0';
  },
  read_only_root: ({ HostConfig }) => {
    HostConfig.ReadonlyRootfs = false;
  },
  masked_paths: ({ HostConfig }) => {
    Object.assign(HostConfig, { MaskedPaths: [], ReadonlyPaths: [] });
  },
  tmpfs_noexec: ({ HostConfig }) => {
    HostConfig.Tmpfs = editTmpfs(HostConfig, (options) => options.replaceAll('noexec', 'exec'));
  },
  tmpfs_caps: ({ HostConfig }) => {
    HostConfig.Tmpfs = editTmpfs(HostConfig, (options) => options.replaceAll(/,(size|nr_inodes)=\d+/g, ''));
  },
  tmpfs_nodev_nosuid: ({ HostConfig }) => {
    HostConfig.Tmpfs = editTmpfs(HostConfig, (options) =>
      options.replaceAll('nodev', 'dev').replaceAll('nosuid', 'suid'),
    );
  },
  no_core_files: ({ HostConfig }) => {
    HostConfig.Ulimits = [{ Name: 'core', Soft: -1, Hard: -1 }];
  },
  process_limit: ({ HostConfig }) => {
    HostConfig.PidsLimit = -1;
  },
  process_namespace: ({ HostConfig }) => {
    HostConfig.PidMode = 'host';
  },
} as const satisfies Record<string, (spec: Spec) => void>;

export type Guard = keyof typeof WITHOUT;

function securityOptionsBut(hostConfig: Docker.HostConfig, prefix: string): string[] {
  return (hostConfig.SecurityOpt as string[]).filter((option) => !option.startsWith(prefix));
}

function editTmpfs(hostConfig: Docker.HostConfig, edit: (options: string) => string): Record<string, string> {
  const mounts = hostConfig.Tmpfs as Record<string, string>;
  return Object.fromEntries(Object.entries(mounts).map(([path, options]) => [path, edit(options)]));
}

export interface ControlOptions {
  readonly without: readonly Guard[];
  /** Docker network to join instead of none. */
  readonly network?: string;
  readonly binds?: readonly string[];
  readonly environment?: readonly string[];
  readonly uid?: number;
  readonly runtime?: string;
  readonly ipc?: string;
}

export interface ControlRun {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** A running control container; `remove` takes it away whatever it does. */
export interface Control {
  readonly id: string;
  /** Resolves when it has ended by itself. */
  readonly ended: Promise<ControlRun>;
  /** Resolves when its output holds `text`. */
  printed(text: string): Promise<void>;
  remove(): Promise<void>;
}

function controlSpec(code: string, options: ControlOptions): Spec {
  const config = parseConfig({});
  const spec = containerSpec(
    {
      image: SLIM,
      imageId: SLIM,
      runtime: options.runtime ?? 'runc',
      network: options.network ?? 'none',
      memoryBytes: 512 * MIB,
      pids: 128,
      cpus: 1,
      workBytes: 64 * MIB,
      tmpBytes: 16 * MIB,
      preimports: [],
    },
    { name: `pyexec-control-${randomUUID()}`, labels: { 'pyexec.control': 'true' }, uid: options.uid ?? CONTROL_UID },
    {
      seccompProfile: JSON.stringify(JSON.parse(readFileSync(config.PYEXEC_SECCOMP_PROFILE, 'utf8'))),
      command: ['python3', '-c', code],
      openFilesMax: 1024,
      dnsServers: [],
    },
  ) as Spec;
  for (const guard of options.without) WITHOUT[guard](spec);
  if (options.binds) spec.HostConfig.Binds = [...options.binds];
  if (options.environment) spec.Env = [...(spec.Env ?? []), ...options.environment];
  if (options.ipc !== undefined) spec.HostConfig.IpcMode = options.ipc;
  spec.WorkingDir = '/work';
  if (options.network?.startsWith('container:')) {
    delete spec.Hostname;
    delete spec.Domainname;
  }
  return spec;
}

/** Starts a program in a control container. Remove it. */
export async function startControl(code: string, options: ControlOptions): Promise<Control> {
  const container = await docker.createContainer(controlSpec(code, options));
  const remove = async () => {
    await container.remove({ force: true, v: true });
  };
  try {
    const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
    const said = { stdout: '', stderr: '' };
    const listeners = new Set<() => void>();
    const demultiplexer = new AttachDemultiplexer(
      (data) => {
        said.stdout += data.toString('utf8');
        for (const listener of listeners) listener();
      },
      (data) => {
        said.stderr += data.toString('utf8');
      },
    );
    stream.on('data', (chunk: Buffer) => {
      demultiplexer.push(chunk);
    });
    const closed = new Promise<void>((resolve) => {
      stream.on('close', resolve).on('end', resolve).on('error', resolve);
    });
    await container.start();
    stream.end();
    const ended = closed.then(async () => {
      const { StatusCode } = (await container.wait()) as { StatusCode: number };
      return { ...said, exitCode: StatusCode };
    });
    ended.catch(() => undefined);
    return {
      id: container.id,
      ended,
      printed: (text) =>
        new Promise((resolve, reject) => {
          const look = () => {
            if (said.stdout.includes(text)) resolve();
          };
          listeners.add(look);
          look();
          ended.then((run) => {
            reject(new Error(`the control ended without printing ${text}: ${run.stderr}`));
          }, reject);
        }),
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Runs a program to its end in a container without the guards named. */
export async function runControl(code: string, options: ControlOptions): Promise<ControlRun> {
  const control = await startControl(code, options);
  let timer: NodeJS.Timeout | undefined;
  try {
    const deadline = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new Error('the control did not end'));
      }, CONTROL_DEADLINE_MS);
    });
    return await Promise.race([control.ended, deadline]);
  } finally {
    clearTimeout(timer);
    await control.remove();
  }
}

/** What a probe finds in a container without the guards named. */
export async function controlFacts(code: string, options: ControlOptions): Promise<Facts> {
  return factsOf(await runControl(code, options));
}

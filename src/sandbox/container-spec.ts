/**
 * Turns a shape into the Docker create request. Pure.
 *
 * Every hardening field is set here, also where Docker's default is already
 * right: the default is Docker's decision, this file is ours. docs/SECURITY.md
 * has a row per guarantee, with the test that proves it by behaviour.
 */
import type Docker from 'dockerode';
import type { SandboxShape } from '../domain/plan.ts';
import { preimportsArgument } from './supervisor/protocol.ts';

export interface ContainerIdentity {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Unprivileged uid and gid, not shared with another live container. */
  readonly uid: number;
}

export interface ContainerSettings {
  /** The seccomp profile itself, as JSON text: the daemon may be on another file system. */
  readonly seccompProfile: string;
  readonly command: readonly string[];
  /** Upper bound for the per-run open-files limit. */
  readonly openFilesMax: number;
  /** For shapes that have a network. */
  readonly dnsServers: readonly string[];
}

/** Fields the daemon knows and the type package does not. */
type HostConfig = Docker.HostConfig & { readonly CgroupnsMode: 'private' };

/** At most this much of /dev/shm; it is memory, and counted as such. */
const SHM_BYTES_MAX = 64 << 20;
/** Bytes of file system per inode of a tmpfs: an inode costs about 1 KiB of kernel memory. */
const BYTES_PER_INODE = 4096;
const INODES_MIN = 1024;

/**
 * What of the kernel and the machine a sandbox cannot read. Said in full, since it replaces the daemon's own list: this is that
 * of the newest engines, and the locks. Those of open file descriptions have no process, so the kernel shows them to
 * every container: one run could write numbers there for another to read. A path the kernel does not have is left out.
 */
const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/locks',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];

/** What the program finds in its environment beside the image's own variables. */
const ENVIRONMENT: Readonly<Record<string, string>> = {
  HOME: '/work',
  LANG: 'C.UTF-8',
  PYTHONUNBUFFERED: '1',
  // What libraries keep for a next time there will not be: not in /work, which is the program's. Matplotlib
  // makes its folder while it is imported, so it gets one that is there.
  MPLCONFIGDIR: '/tmp',
  XDG_CACHE_HOME: '/tmp/.cache',
};

/** The tmpfs options of one mount: sized in bytes and inodes, owned by the program, no devices, no setuid. */
function tmpfs(sizeBytes: number, uid: number, options: string): string {
  const inodes = Math.max(INODES_MIN, Math.floor(sizeBytes / BYTES_PER_INODE));
  return `rw,nosuid,nodev,${options},size=${String(sizeBytes)},nr_inodes=${String(inodes)},uid=${String(uid)},gid=${String(uid)}`;
}

export function containerSpec(
  shape: SandboxShape,
  identity: ContainerIdentity,
  settings: ContainerSettings,
): Docker.ContainerCreateOptions {
  const owner = String(identity.uid);
  const hostConfig: HostConfig = {
    AutoRemove: false,
    Binds: [],
    CapAdd: [],
    CapDrop: ['ALL'],
    CgroupnsMode: 'private',
    Devices: [],
    Dns: shape.network === 'none' ? [] : [...settings.dnsServers],
    IpcMode: 'private',
    LogConfig: { Type: 'none', Config: {} },
    MaskedPaths: MASKED_PATHS,
    Memory: shape.memoryBytes,
    MemorySwap: shape.memoryBytes,
    NanoCpus: Math.round(shape.cpus * 1e9),
    NetworkMode: shape.network,
    OomKillDisable: false,
    OomScoreAdj: 500,
    PidMode: '',
    PidsLimit: shape.pids,
    Privileged: false,
    PublishAllPorts: false,
    ReadonlyRootfs: true,
    RestartPolicy: { Name: 'no' },
    Runtime: shape.runtime,
    SecurityOpt: ['no-new-privileges:true', `seccomp=${settings.seccompProfile}`],
    ShmSize: Math.min(SHM_BYTES_MAX, Math.floor(shape.memoryBytes / 4)),
    Tmpfs: {
      '/work': tmpfs(shape.workBytes, identity.uid, 'exec,mode=0755'),
      '/tmp': tmpfs(shape.tmpBytes, identity.uid, 'noexec,mode=1777'),
    },
    Ulimits: [
      { Name: 'core', Soft: 0, Hard: 0 },
      { Name: 'nofile', Soft: settings.openFilesMax, Hard: settings.openFilesMax },
      { Name: 'fsize', Soft: shape.workBytes, Hard: shape.workBytes },
      // /dev/mqueue stays writable under a read-only root, and open(2) there needs no mq_open.
      { Name: 'msgqueue', Soft: 0, Hard: 0 },
    ],
    UTSMode: '',
  };
  return {
    name: identity.name,
    Image: shape.imageId,
    Entrypoint: [...settings.command],
    Cmd: [preimportsArgument(shape)],
    WorkingDir: '/',
    User: `${owner}:${owner}`,
    Hostname: 'sandbox',
    Domainname: '',
    Env: Object.entries({ ...ENVIRONMENT, USER: `sandbox${String(identity.uid - 10_000)}` }).map(
      ([name, value]) => `${name}=${value}`,
    ),
    Labels: { ...identity.labels },
    Tty: false,
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    NetworkDisabled: shape.network === 'none',
    HostConfig: hostConfig,
  };
}

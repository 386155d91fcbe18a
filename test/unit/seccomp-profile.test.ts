import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';

const Condition = z.strictObject({
  index: z.int().min(0).max(5),
  value: z.int().min(0),
  valueTwo: z.int().min(0).optional(),
  op: z.enum(['SCMP_CMP_EQ', 'SCMP_CMP_MASKED_EQ']),
});

// Strict: `includes`, `excludes`, `architectures` or a misspelt field must not parse.
const Profile = z.strictObject({
  defaultAction: z.literal('SCMP_ACT_ERRNO'),
  defaultErrnoRet: z.literal(1),
  archMap: z.array(z.strictObject({ architecture: z.string(), subArchitectures: z.array(z.string()) })),
  syscalls: z.array(
    z.strictObject({
      names: z.array(z.string().regex(/^[a-z0-9_]+$/)).min(1),
      action: z.enum(['SCMP_ACT_ALLOW', 'SCMP_ACT_ERRNO']),
      errnoRet: z.int().optional(),
      args: z.array(Condition).min(1).optional(),
      comment: z.string().optional(),
    }),
  ),
});

const read = (name: string): string => readFileSync(new URL(`../../seccomp/${name}`, import.meta.url), 'utf8');
const profile = Profile.parse(JSON.parse(read('python.json')));
const readme = read('README.md');

interface Removal {
  names: string[];
  base: string;
  answer: string;
  reason: string;
}

/** The table under "Calls that are not allowed": what is refused, and why. */
const removals: Removal[] = (readme.split('## Calls that are not allowed')[1]?.split('\n## ')[0] ?? '')
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => {
    const [names = '', base = '', answer = '', reason = ''] = line.slice(1, -1).split(' | ');
    return {
      names: [...names.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''),
      base: base.trim(),
      answer: answer.trim(),
      reason: reason.trim(),
    };
  });
const removed = removals.flatMap((row) => row.names);

/** What the filter answers to one call, or "EPERM" by default. */
function answer(name: string, args: number[] = []): string {
  const rule = profile.syscalls.find(
    (candidate) =>
      candidate.names.includes(name) &&
      (candidate.args ?? []).every(({ index, op, value, valueTwo }) => {
        const actual = BigInt(args[index] ?? 0);
        return op === 'SCMP_CMP_EQ'
          ? actual === BigInt(value)
          : (actual & BigInt(value)) === BigInt(valueTwo ?? Number.NaN);
      }),
  );
  if (rule === undefined) return 'EPERM';
  return rule.action === 'SCMP_ACT_ALLOW' ? 'ALLOW' : `errno ${rule.errnoRet ?? 1}`;
}

const words = (text: string): string[] => text.trim().split(/\s+/);
const range = (length: number): number[] => Array.from({ length }, (_, index) => index);
const sorted = (names: Iterable<string>): string[] => [...names].sort();

// Kept apart from the README on purpose: this is the requirement, that is the account of it.
const FORBIDDEN = words(`
  acct add_key bpf chroot clock_settime delete_module fanotify_init fanotify_mark finit_module fsconfig fsmount fsopen
  fspick init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl
  listmount lookup_dcookie memfd_secret migrate_pages modify_ldt mount mount_setattr move_mount move_pages mq_getsetattr
  mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd name_to_handle_at
  open_by_handle_at open_tree open_tree_attr perf_event_open pidfd_getfd pivot_root process_madvise process_vm_readv
  process_vm_writev ptrace quotactl quotactl_fd reboot remap_file_pages request_key semctl semget semop semtimedop
  setdomainname sethostname setns settimeofday shmat shmctl shmdt shmget socketcall splice statmount swapoff swapon
  syslog tee umount umount2 unshare userfaultfd vhangup vmsplice`);

// Seen in a broad standard-library and numpy workload. A floor: the profile allows far more.
const NEEDED_BY_CPYTHON = words(`
  accept4 access arch_prctl bind brk chdir chmod clock_nanosleep close close_range connect copy_file_range dup2
  epoll_create1 epoll_ctl epoll_wait eventfd2 execve exit_group faccessat2 fchown fcntl fdatasync flock fstat fsync
  ftruncate futex getcwd getdents64 getegid geteuid getgid getgroups getpeername getpgrp getpid getppid getpriority
  getrandom getsockname gettid getuid ioctl kill link listen listxattr lseek madvise memfd_create mkdir mmap mprotect
  mremap munmap newfstatat openat pidfd_open pipe2 poll prctl pread64 prlimit64 pselect6 pwrite64 read readlink recvfrom
  recvmsg rename restart_syscall rmdir rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sendfile sendmsg
  sendto set_robust_list set_tid_address setitimer setpriority setsockopt sigaltstack statfs statx symlink sysinfo tgkill
  times truncate umask uname unlink unlinkat utimensat vfork wait4 waitid write`);

describe('the profile', () => {
  it('lists x86_64 and aarch64, without the 32-bit ABIs', () => {
    expect(profile.archMap).toEqual([
      { architecture: 'SCMP_ARCH_X86_64', subArchitectures: [] },
      { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: [] },
    ]);
  });

  it('has no rule that depends on a capability, an architecture or a kernel version', () => {
    expect(read('python.json')).not.toMatch(/"(includes|excludes|caps|arches|minKernel|architectures)"/);
  });

  it('never puts two conditions on one argument, which runc would read as alternatives', () => {
    for (const { args = [] } of profile.syscalls) {
      expect(new Set(args.map(({ index }) => index)).size).toBe(args.length);
    }
  });

  it('has one rule without a condition for a call, or only rules with one', () => {
    const plain = profile.syscalls.filter(({ args }) => args === undefined).flatMap(({ names }) => names);
    const conditional = new Set(
      profile.syscalls.filter(({ args }) => args !== undefined).flatMap(({ names }) => names),
    );
    expect(sorted(new Set(plain))).toEqual(sorted(plain));
    expect(plain.filter((name) => conditional.has(name))).toEqual([]);
    expect(sorted(conditional)).toEqual([
      'clone',
      'mknod',
      'mknodat',
      'personality',
      'prlimit64',
      'socket',
      'socketpair',
    ]);
  });

  it.each(FORBIDDEN)('has no rule that allows %s', (name) => {
    const rules = profile.syscalls.filter(({ names }) => names.includes(name));
    expect(rules.filter(({ action }) => action === 'SCMP_ACT_ALLOW')).toEqual([]);
  });

  it('allows what CPython needs', () => {
    expect(NEEDED_BY_CPYTHON.filter((name) => answer(name) !== 'ALLOW')).toEqual([]);
  });

  it('answers ENOSYS where glibc has a fallback', () => {
    expect(answer('clone3')).toBe('errno 38');
    expect(profile.syscalls.flatMap(({ errnoRet }) => errnoRet ?? [])).toEqual([38]);
  });
});

describe('conditions', () => {
  it.each(['socket', 'socketpair'])('%s: AF_UNIX, AF_INET and AF_INET6', (name) => {
    expect(range(256).filter((family) => answer(name, [family]) === 'ALLOW')).toEqual([1, 2, 10]);
    expect(answer(name, [2 ** 32 + 38])).toBe('EPERM');
  });

  it('clone: threads and processes, no namespace', () => {
    const CLONE_NEW = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000];
    const SIGCHLD = 17;
    const THREAD = 0x3d0f00; // what glibc passes for pthread_create
    const VFORK = 0x4111;
    for (const flags of [SIGCHLD, THREAD, VFORK]) {
      expect(answer('clone', [flags])).toBe('ALLOW');
      for (const flag of CLONE_NEW) {
        expect(answer('clone', [flags + flag])).toBe('EPERM');
        expect(answer('clone', [flags + flag + 2 ** 40])).toBe('EPERM');
      }
    }
  });

  it('personality: the default and the query', () => {
    const tried = [0, 8, 0x20000, 0x20008, 0x40000, 0x400000, 0xffffffff];
    expect(tried.filter((value) => answer('personality', [value]) === 'ALLOW')).toEqual([0, 0xffffffff]);
  });

  it.each([
    ['mknod', [0]],
    ['mknodat', [0, 0]],
  ])('%s: regular files and FIFOs, no device', (name, before) => {
    const types = range(16).filter((type) => answer(name, [...before, type * 0x1000 + 0o644]) === 'ALLOW');
    expect(types).toEqual([0x0, 0x1, 0x8]); // none, S_IFIFO, S_IFREG
  });
});

describe('README.md', () => {
  it('gives a reason for each row of the table, and names each call once', () => {
    expect(removals.length).toBeGreaterThan(30);
    for (const row of removals) {
      expect(row.names).not.toEqual([]);
      expect(['removed', 'capability', 'absent', 'dead']).toContain(row.base);
      expect(row.reason.length).toBeGreaterThan(15);
    }
    expect(sorted(new Set(removed))).toEqual(sorted(removed));
  });

  it('names every call that must be refused', () => {
    expect(FORBIDDEN.filter((name) => !removed.includes(name))).toEqual([]);
  });

  it('says what the profile answers', () => {
    for (const { names, answer: told } of removals) {
      for (const name of names) {
        expect(`${name}: ${answer(name)}`).toBe(`${name}: ${told === 'ENOSYS' ? 'errno 38' : 'EPERM'}`);
      }
    }
  });

  // The other direction: a call can leave the profile only by way of the table,
  // and enter it only with a new base list.
  it('accounts, together with the profile, for every name of the base list', () => {
    const fromBase = removals.filter(({ base }) => base !== 'absent').flatMap(({ names }) => names);
    const named = sorted(new Set([...fromBase, ...profile.syscalls.flatMap(({ names }) => names)]));
    const digest = createHash('sha256').update(named.join('\n')).digest('hex');
    expect(readme).toContain(`| Names in the base | ${named.length},`);
    expect(readme).toContain(`| SHA-256 of the base names | \`${digest}\``);
  });
});

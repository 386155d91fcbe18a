/**
 * System calls a sandbox refuses, each with a way to try it that does no harm where
 * it is allowed: the arguments are wrong in a way the kernel notices only after it
 * has checked for permission, or the effect ends with the process.
 */
import type { Guard } from './isolation-control.ts';
import { probe } from './isolation-probe.ts';

export interface SyscallAttempt {
  /** Case of the catalogue the call belongs to. */
  readonly id: string;
  readonly name: string;
  /** A Python expression; `syscall(x86_64, aarch64, ...)` and `libc` are at hand. */
  readonly expression: string;
  /** The guards without which the kernel takes the call: the filter alone, or the filter and the missing capabilities. */
  readonly without: readonly Guard[];
}

const FILTER: readonly Guard[] = ['seccomp'];
const FILTER_AND_PRIVILEGE: readonly Guard[] = ['seccomp', 'no_capabilities', 'unprivileged_user'];

const filtered = (id: string, name: string, expression: string): SyscallAttempt => ({
  id,
  name,
  expression,
  without: FILTER,
});
const privileged = (id: string, name: string, expression: string): SyscallAttempt => ({
  id,
  name,
  expression,
  without: FILTER_AND_PRIVILEGE,
});

const NAMESPACES = {
  CLONE_NEWNS: 0x00020000,
  CLONE_NEWCGROUP: 0x02000000,
  CLONE_NEWUTS: 0x04000000,
  CLONE_NEWIPC: 0x08000000,
  CLONE_NEWUSER: 0x10000000,
  CLONE_NEWPID: 0x20000000,
  CLONE_NEWNET: 0x40000000,
} as const;

export const SYSCALL_ATTEMPTS: readonly SyscallAttempt[] = [
  privileged('E03', 'mount', `syscall(165, 40, b'none', b'/tmp', b'tmpfs', 0, None)`),
  privileged('E03', 'umount2', `syscall(166, 39, b'/nowhere', 0)`),
  privileged('E03', 'pivot_root', `syscall(155, 41, b'/nowhere', b'/nowhere')`),
  privileged('E03', 'chroot', `syscall(161, 51, b'/')`),
  privileged('E03', 'fsopen', `syscall(430, 430, b'tmpfs', 0)`),
  privileged('E03', 'fspick', `syscall(433, 433, -100, b'/nowhere', 0)`),
  privileged('E03', 'open_tree', `syscall(428, 428, -100, b'/work', 1)`),
  privileged('E03', 'move_mount', `syscall(429, 429, -100, b'/nowhere', -100, b'/nowhere', 0)`),
  privileged('E03', 'mount_setattr', `syscall(442, 442, -100, b'/nowhere', 0, ctypes.create_string_buffer(32), 32)`),

  ...Object.entries(NAMESPACES).flatMap(([name, flag]) => {
    const make = name === 'CLONE_NEWUSER' ? filtered : privileged;
    const value = String(flag);
    return [
      make('E04', `unshare ${name}`, `in_forked(lambda: syscall(272, 97, ${value}))`),
      make('E04', `clone ${name}`, `in_forked(lambda: cloned(${value}))`),
    ];
  }),
  filtered('E04', 'unshare CLONE_NEWUSER with CLONE_NEWNET', 'in_forked(lambda: syscall(272, 97, 0x50000000))'),
  filtered('E04', 'clone3', `syscall(435, 435, ctypes.create_string_buffer(64), 8)`),
  privileged('E04', 'setns', `syscall(308, 268, os.open('/proc/self/ns/uts', os.O_RDONLY), 0)`),

  filtered('E05', 'io_uring_setup', `syscall(425, 425, 0, None)`),
  filtered('E05', 'io_uring_enter', `syscall(426, 426, -1, 0, 0, 0, None, 0)`),
  filtered('E05', 'io_uring_register', `syscall(427, 427, -1, 0, None, 0)`),

  filtered('E06', 'userfaultfd', `syscall(323, 282, 1)`),
  privileged('E06', 'bpf', `syscall(321, 280, 9999, ctypes.create_string_buffer(8), 8)`),
  privileged('E06', 'perf_event_open', `syscall(298, 241, None, 0, -1, -1, 0)`),
  filtered('E06', 'keyctl', `syscall(250, 219, 0, -3, 1)`),
  filtered('E06', 'add_key', `syscall(248, 217, b'user', b'pyexec-probe', b'x', 1, -1)`),
  filtered('E06', 'request_key', `syscall(249, 218, b'user', b'pyexec-nothing', None, 0)`),
  filtered('E06', 'kcmp', `syscall(312, 272, os.getpid(), os.getpid(), 0, 0, 0)`),
  filtered('E06', 'pidfd_getfd', `syscall(438, 438, -1, 0, 0)`),
  filtered('E06', 'process_madvise', `syscall(440, 440, -1, None, 0, 0, 0)`),

  filtered('E09', 'ptrace TRACEME', `in_forked(lambda: syscall(101, 117, 0, 0, None, None))`),
  filtered('E09', 'process_vm_readv of itself', `syscall(310, 270, os.getpid(), None, 0, None, 0, 0)`),
  filtered('E09', 'process_vm_writev of itself', `syscall(311, 271, os.getpid(), None, 0, None, 0, 0)`),

  filtered(
    'E10',
    'name_to_handle_at',
    `syscall(303, 264, -100, b'/etc/passwd', ctypes.create_string_buffer(8), ctypes.create_string_buffer(8), 0)`,
  ),
  privileged('E10', 'open_by_handle_at', `syscall(304, 265, -1, ctypes.create_string_buffer(64), 0)`),

  filtered('E11', 'splice', `syscall(275, 76, -1, None, -1, None, 1, 0)`),
  filtered('E11', 'tee', `syscall(276, 77, -1, -1, 1, 0)`),
  filtered('E11', 'vmsplice', `syscall(278, 75, -1, None, 1, 0)`),

  privileged('E28', 'settimeofday', `syscall(164, 170, ctypes.create_string_buffer(b'\\xff' * 16, 16), None)`),
  privileged('E28', 'clock_settime', `syscall(227, 112, 9999, None)`),
  privileged('E28', 'sethostname', `syscall(170, 161, b'x', 1)`),
  privileged('E28', 'setdomainname', `syscall(171, 162, b'x', 1)`),
  privileged('E28', 'reboot', `syscall(169, 142, 0, 0, 0, None)`),
  privileged('E28', 'kexec_load', `syscall(246, 104, 0, 0, None, 0xffff)`),
  privileged('E28', 'init_module', `syscall(175, 105, None, 0, b'')`),
  privileged('E28', 'delete_module', `syscall(176, 106, b'pyexec_no_such_module', 0)`),
  privileged('E28', 'swapon', `syscall(167, 224, b'/nowhere', 0)`),
  privileged('E28', 'swapoff', `syscall(168, 225, b'/nowhere')`),
  privileged('E28', 'acct', `syscall(163, 89, b'/nowhere')`),
  privileged('E28', 'quotactl', `syscall(179, 60, 0x800007 << 8, b'/nowhere', 0, None)`),
  privileged('E28', 'iopl', `syscall(172, None, 0)`),
  privileged('E28', 'ioperm', `syscall(173, None, 0, 1, 0)`),
  filtered('E28', 'modify_ldt', `syscall(154, None, 0, None, 0)`),
  privileged('E28', 'syslog', `syscall(103, 116, 10, None, 0)`),
  filtered('E28', 'personality ADDR_NO_RANDOMIZE', `in_forked(lambda: syscall(135, 92, 0x0040000))`),

  filtered('E29', 'msgget', `syscall(68, 186, 0, 0o600)`),
  filtered('E29', 'semget', `syscall(64, 190, 0, 1, 0o600)`),
  filtered('E29', 'shmget', `syscall(29, 194, 0, 4096, 0o600)`),
  filtered('E29', 'mq_open', `syscall(240, 180, b'pyexec-probe', os.O_RDWR, 0, None)`),
  filtered('E06', 'memfd_secret', `syscall(447, 447, 0)`),
];

/** Tries every call; a fact per name. */
export const SYSCALLS_PROBE = probe(`
def in_forked(action):
    "Raises what the action raised in a forked child, so that its effect ends with the child."
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            action()
            number = 0
        except OSError as problem:
            number = problem.errno
        os.write(writer, b'%d' % number)
        os._exit(0)
    os.close(writer)
    number = int(os.read(reader, 16) or b'0')
    os.close(reader)
    os.waitpid(pid, 0)
    if number:
        raise OSError(number, 'in the child')

def cloned(flags):
    pid = syscall(56, 220, flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

${SYSCALL_ATTEMPTS.map(({ name, expression }) => `attempt(${JSON.stringify(name)}, lambda: ${expression})`).join('\n')}
`);

/**
 * The kernel's other system-call doors lead nowhere: the 32-bit entry (int 0x80),
 * whose socketcall would go round every rule about sockets, 32-bit programs, and
 * the x32 numbers. Control: without the filter they work on this kernel.
 */
import { describe, expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const INTERRUPT_80 = `
import struct
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
MAP_32BIT = 0x40
page = libc.mmap(None, 4096, 7, 0x22 | MAP_32BIT, -1, 0)
facts['page is below 4 GiB'] = page < 1 << 32

def int_80(number, first=0, second=0):
    "push rbx; mov eax, ebx, ecx; int 0x80; pop rbx; ret"
    code = b'\\x53\\xb8' + struct.pack('<I', number) + b'\\xbb' + struct.pack('<I', first)
    code += b'\\xb9' + struct.pack('<I', second) + b'\\xcd\\x80\\x5b\\xc3'
    ctypes.memmove(page + 1024, code, len(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(page + 1024)()

def socketcall(domain):
    ctypes.memmove(page, struct.pack('<III', domain, 3, 0), 12)
    return int_80(102, 1, page)

facts['getpid'] = in_child(lambda: 0 if int_80(20) == os.getpid() else 1)
for name, domain in (('AF_UNIX', 1), ('AF_NETLINK', 16)):
    facts['socketcall ' + name] = in_child(lambda: 0 if socketcall(domain) >= 0 else 1)
`;

/** A whole 32-bit program: exit(42). */
const PROGRAM_32 = `
import struct
code = b'\\xbb\\x2a\\x00\\x00\\x00\\xb8\\x01\\x00\\x00\\x00\\xcd\\x80'
base = 0x08048000
header = b'\\x7fELF' + bytes([1, 1, 1, 0]) + bytes(8)
header += struct.pack('<HHIIIIIHHHHHH', 2, 3, 1, base + 84, 52, 0, 0, 52, 32, 1, 0, 0, 0)
header += struct.pack('<IIIIIIII', 1, 0, base, base, 84 + len(code), 84 + len(code), 5, 4096)
with open('/work/program', 'wb') as file:
    file.write(header + code)
os.chmod('/work/program', 0o755)
facts['32-bit program'] = in_child(lambda: os.execv('/work/program', ['program']))
`;

const X32 = `
attempt('x32 getpid', lambda: syscall(0x40000000 + 39, None))
facts['x32 socket in a child'] = in_child(lambda: 0 if libc.syscall(0x40000000 + 41, 1, 1, 0) >= 0 else 1)
`;

describe.skipIf(process.arch !== 'x64')('E08 other system-call entries', () => {
  it('E08 int 0x80 ends the process that uses it, and opens no socket', async () => {
    const facts = await sandbox.facts(probe(INTERRUPT_80));
    const killed = 'SIGSYS';
    expect(facts).toEqual({
      'page is below 4 GiB': true,
      getpid: killed,
      'socketcall AF_UNIX': killed,
      'socketcall AF_NETLINK': killed,
    });
  });

  it('E08 control: without the filter int 0x80 reaches socketcall', async ({ skip }) => {
    const control = await controlFacts(probe(INTERRUPT_80), { without: ['seccomp'] });
    skip(control['getpid'] === 'SIGSEGV', 'this kernel has no 32-bit entry, so there is no control');
    expect(control).toMatchObject({ getpid: 0, 'socketcall AF_UNIX': 0 });
  });

  it('E08 a 32-bit program dies at its first system call', async ({ skip }) => {
    const control = await controlFacts(probe(PROGRAM_32), { without: ['seccomp'] });
    expect(await sandbox.facts(probe(PROGRAM_32))).toEqual({
      '32-bit program': expect.toSatisfy((ending: unknown) => ending === 'SIGSYS' || ending === 99) as unknown,
    });
    skip(control['32-bit program'] === 99, 'this kernel does not run 32-bit programs, so there is no control');
    expect(control).toEqual({ '32-bit program': 42 });
  });

  it('E08 x32 system-call numbers lead nowhere', async ({ skip }) => {
    const facts = await sandbox.facts(probe(`facts['x32'] = in_child(lambda: libc.syscall(0x40000000 + 39) < 0)`));
    expect(facts).toEqual({
      x32: expect.toSatisfy((ending: unknown) => ending === 'SIGSYS' || ending === 1) as unknown,
    });
    const control = await controlFacts(probe(X32), { without: ['seccomp'] });
    skip(control['x32 getpid'] === 'ENOSYS', 'this kernel has no x32 entry, so there is no control');
    expect(control).toMatchObject({ 'x32 getpid': 'done', 'x32 socket in a child': 0 });
  });
});

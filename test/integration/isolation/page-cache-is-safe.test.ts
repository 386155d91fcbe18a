/**
 * A file of the image is shared by every sandbox through the page cache. No run can
 * write to it there: the calls behind Dirty Pipe (CVE-2022-0847) and copy.fail
 * (CVE-2026-31431) are refused, and another sandbox sees what it always saw.
 */
import { expect, it } from 'vitest';
import { controlFacts } from '../../support/isolation-control.ts';
import { probe } from '../../support/isolation-probe.ts';
import { sandboxForFile } from '../../support/isolation-sandbox.ts';

const sandbox = sandboxForFile();

const HASH = 'import hashlib, os; print(hashlib.sha256(open(os.__file__, "rb").read()).hexdigest())';

const WRITE_THROUGH = probe(`
import mmap, socket
target = os.__file__
file = os.open(target, os.O_RDONLY)
reader, writer = os.pipe()

def dirty_pipe():
    "The pipe buffers are left mergeable, then a page of the file is spliced into one and written to."
    size = 65536
    os.write(writer, b'x' * size)
    os.read(reader, size)
    syscall(275, 76, file, ctypes.byref(ctypes.c_long(0)), writer, None, 1, 0)
    os.write(writer, b'# overwritten by a probe')

def vmsplice():
    class Iovec(ctypes.Structure):
        _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
    buffer = ctypes.create_string_buffer(4096)
    syscall(278, 75, writer, ctypes.byref(Iovec(ctypes.addressof(buffer), 4096)), 1, 0)

def algorithm_socket():
    socket.socket(38, socket.SOCK_SEQPACKET, 0).close()

attempt('splice', dirty_pipe)
attempt('vmsplice', vmsplice)
attempt('algorithm socket', algorithm_socket)
attempt('map for writing', lambda: mmap.mmap(file, 4096, mmap.MAP_SHARED, mmap.PROT_WRITE))
attempt('reopen for writing', lambda: opened('/proc/self/fd/%d' % file, os.O_RDWR))
attempt('memory device', lambda: opened('/dev/mem'))
`);

it('E30 E11 a shared image file cannot be written through the page cache', async ({ skip }) => {
  const before = await sandbox.run(HASH);
  expect(before.stdout).toMatch(/^[0-9a-f]{64}\n$/);
  expect(await sandbox.facts(WRITE_THROUGH)).toEqual({
    splice: 'EPERM',
    vmsplice: 'EPERM',
    'algorithm socket': 'EPERM',
    'map for writing': 'EACCES',
    'reopen for writing': expect.stringMatching(/^(EROFS|EACCES)$/) as string,
    'memory device': 'ENOENT',
  });
  expect((await sandbox.run(HASH)).stdout).toBe(before.stdout);

  const control = await controlFacts(WRITE_THROUGH, { without: ['seccomp'] });
  expect(control).toMatchObject({ splice: 'done', vmsplice: 'done' });
  // The kernel itself is patched: even so, the file is what it was.
  expect((await sandbox.run(HASH)).stdout).toBe(before.stdout);
  skip(control['algorithm socket'] !== 'done', 'this kernel has no AF_ALG, so that part has no control');
});

it('E30 control: the hash does change where a file can be written', async () => {
  const change = probe(`
import hashlib
digest = lambda: hashlib.sha256(open(os.__file__, 'rb').read()).hexdigest()
before = digest()
attempt('append', lambda: open(os.__file__, 'a').write('# changed'))
facts['changed'] = digest() != before
`);
  expect(await sandbox.facts(change)).toMatchObject({ changed: false });
  const control = await controlFacts(change, { without: ['read_only_root', 'unprivileged_user', 'no_capabilities'] });
  expect(control).toEqual({ append: 'done', changed: true });
});

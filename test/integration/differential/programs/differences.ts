/**
 * What a sandbox does otherwise than `python3 entry.py`, and why; docs/ARCHITECTURE.md
 * has the list for readers. A program here fails when the difference goes, or changes.
 */
import { constants } from 'node:os';
import { py, type Programs } from '../../../support/differential-program.ts';

const LINE_BUFFERED =
  'A sandbox writes stdout by lines, as a terminal gets it: one system call a line. ' +
  'PYTHONUNBUFFERED=1 writes every piece, two system calls for each print().';

const LAST_TYPE =
  'Whether to die by SIGINT is known to CPython from a variable that cannot be read from outside; a sandbox ' +
  'looks at sys.last_type, which an excepthook can change.';
const ENDS_EARLY =
  'A program that ran off its end, or failed, is ended once nothing of it is left; what CPython does after that ' +
  'frees its own memory, and calls what C gave to Py_AtExit.';

export const DIFFERENCES: Programs = {
  'the kind of buffer below sys.stdout': {
    files: 'import sys\nprint(type(sys.stdout.buffer).__name__, sys.stdout.line_buffering, sys.stdout.write_through)\n',
    differs: {
      because: LINE_BUFFERED,
      sandbox: { stdout: 'BufferedWriter True False\n' },
      plain: { stdout: 'FileIO False True\n' },
    },
  },
  'an unfinished line of a killed program': {
    files: py`
      import os, signal, sys
      print("a whole line")
      sys.stdout.write("part of a line")
      os.kill(os.getpid(), signal.SIGTERM)
    `,
    differs: {
      because: LINE_BUFFERED,
      sandbox: { stdout: 'a whole line\n', status: -constants.signals.SIGTERM },
      plain: { stdout: 'a whole line\npart of a line', status: -constants.signals.SIGTERM },
    },
  },
  'an unfinished line and os._exit': {
    files: 'import os\nprint("part of a line", end="")\nos._exit(0)\n',
    differs: { because: LINE_BUFFERED, sandbox: { stdout: '' }, plain: { stdout: 'part of a line' } },
  },
  'an unfinished line and a fork': {
    files: 'import os\nprint("once? ", end="")\npid = os.fork()\nif pid: os.wait()\n',
    differs: { because: LINE_BUFFERED, sandbox: { stdout: 'once? once? ' }, plain: { stdout: 'once? ' } },
  },
  'an unfinished line and a child that writes': {
    files: 'import subprocess\nprint("first ", end="")\nsubprocess.run(["echo", "second"])\n',
    differs: { because: LINE_BUFFERED, sandbox: { stdout: 'second\nfirst ' }, plain: { stdout: 'first second\n' } },
  },
  'KeyboardInterrupt, and a hook that changes sys.last_type': {
    files: py`
      import sys
      def hook(*a): sys.last_type = ValueError
      sys.excepthook = hook
      raise KeyboardInterrupt
    `,
    differs: {
      because: LAST_TYPE,
      sandbox: { stdout: '', status: 1 },
      plain: { stdout: '', status: -constants.signals.SIGINT },
    },
  },
  'a function given to Py_AtExit': {
    files: 'import ctypes\nctypes.pythonapi.Py_AtExit(ctypes.CDLL(None).abort)\nprint("x")\n',
    differs: {
      because: ENDS_EARLY,
      sandbox: { stdout: 'x\n' },
      plain: { stdout: 'x\n', status: -constants.signals.SIGABRT },
    },
  },
};

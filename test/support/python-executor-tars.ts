/**
 * Archives as python-executor's clients make them: Python's tarfile by running it,
 * Go's archive/tar by writing its bytes.
 */
import { spawnSync } from 'node:child_process';
import { archive, directory, file, paxRecord, entry } from './hostile-archives.ts';

/** A tar of regular files, as `tarfile` makes one of a dict: mode 0644, no owner, no time, 10240-byte records. */
export function pythonTarOfDict(files: Readonly<Record<string, string>>): Buffer {
  return python(
    `import io, json, sys, tarfile
files = json.load(sys.stdin)
out = io.BytesIO()
with tarfile.open(fileobj=out, mode="w") as tar:
    for name, text in files.items():
        data = text.encode()
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
sys.stdout.buffer.write(out.getvalue())`,
    files,
  );
}

/**
 * A tar of a folder, as \`tarfile.add\` makes one file by file: no entries for
 * directories, the owner and times of the file system, links as links.
 * @param build Python that fills the empty folder \`root\` (a pathlib.Path).
 */
export function pythonTarOfFolder(build: string): Buffer {
  return python(
    `import io, json, os, pathlib, sys, tarfile, tempfile
with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    exec(json.load(sys.stdin))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                tar.add(path, arcname=str(path.relative_to(root)))
sys.stdout.buffer.write(out.getvalue())`,
    build,
  );
}

function python(program: string, input: unknown): Buffer {
  const { status, stdout, stderr } = spawnSync('python3', ['-c', program], {
    input: JSON.stringify(input),
    maxBuffer: 64 << 20,
  });
  if (status !== 0) throw new Error(`python3 exited with ${String(status)}: ${stderr.toString()}`);
  return stdout;
}

/** os.ModeDir | 0755 in the mode field: too large for octal, so archive/tar writes GNU's base 256. */
const GO_DIRECTORY_MODE = Buffer.from('80000000800001ed', 'hex');

/** A tar of a folder as Go's archive/tar writes it: directories first, each with its base-256 mode. */
export function goTarOfFolder(directories: readonly string[], files: Readonly<Record<string, string>>): Buffer {
  const prefix = Buffer.alloc(155);
  return archive(
    ...directories.map((name) => directory(`${name}/`, { mode: GO_DIRECTORY_MODE, magic: 'gnu', prefix })),
    ...Object.entries(files).map(([name, content]) =>
      name.length <= 100
        ? file(name, content)
        : Buffer.concat([
            entry({ name: 'PaxHeaders.0/long', type: 'x' }, paxRecord('path', name)),
            entry({ name: name.slice(0, 100) }, content),
          ]),
    ),
  );
}

/** A tar of files with nothing special about it. */
export function plainTar(files: Readonly<Record<string, string>>): Buffer {
  return archive(...Object.entries(files).map(([name, content]) => file(name, content)));
}

/** Two zero blocks' worth of nothing: an archive without an entry. */
export const EMPTY_TAR = Buffer.alloc(1024);

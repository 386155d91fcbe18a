/**
 * Plain `python3` for the differential suite: the same image, hardening, files,
 * environment and pipes as a sandbox has, but nothing of ours around the program.
 *
 * One container answers for many programs, because a container each would double
 * the suite's time. Its PID 1 is the driver below: it starts `python3 entry args`
 * as any shell or service manager would, in a session of its own, and empties
 * /work, /tmp and /dev/shm between programs.
 */
import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { AttachDemultiplexer } from '../../src/sandbox/attach-demultiplexer.ts';
import { containerSpec } from '../../src/sandbox/container-spec.ts';
import { DockerDaemon } from '../../src/sandbox/docker-daemon.ts';
import type { Limits } from '../../src/domain/limits.ts';
import type { RunRequest } from '../../src/domain/plan.ts';
import { threadCounts } from '../../src/policy/thread-counts.ts';
import { LABEL } from '../../src/sandbox/container-labels.ts';
import type { Ending, Files } from './differential-program.ts';

/** Outside of what a server hands out in a test run, inside what our images have names for. */
const UID = 10_255;

/** A container forgotten by an aborted test run is any server's to remove after this long. */
const LIFETIME_S = 900;

const DRIVER = String.raw`
import base64, json, os, resource, shutil, signal, subprocess, sys, threading

def clear(directory):
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

def read_into(pipe, parts):
    while True:
        part = os.read(pipe.fileno(), 65536)
        if not part:
            return
        parts.append(part)

def feed(pipe, data):
    try:
        pipe.write(data)
        pipe.close()
    except OSError:
        pass

def run(request):
    os.umask(0o022)
    for directory in ("/work", "/tmp", "/dev/shm"):
        clear(directory)
    for path, content in request["files"].items():
        os.makedirs(os.path.dirname("/work/" + path), exist_ok=True)
        with open("/work/" + path, "wb") as file:
            file.write(base64.b64decode(content))
    environment = {name: value for name, value in os.environ.items() if name != "HOSTNAME"}
    environment.update(request["environment"])

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (request["openFiles"],) * 2)

    program = subprocess.Popen(
        ["python3"] + request["arguments"], env=environment, cwd="/work", bufsize=0,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, preexec_fn=limit,
    )
    streams = ([], [])
    readers = [
        threading.Thread(target=read_into, args=pair) for pair in zip((program.stdout, program.stderr), streams)
    ]
    feeder = threading.Thread(target=feed, args=(program.stdin, base64.b64decode(request["stdin"])))
    for thread in readers + [feeder]:
        thread.start()
    status = program.wait()
    # As when PID 1 of a container ends: nothing outlives the program.
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass
    for thread in readers + [feeder]:
        thread.join()
    for pipe in (program.stdin, program.stdout, program.stderr):
        try:
            pipe.close()
        except OSError:
            pass
    return {
        "status": status,
        "stdout": base64.b64encode(b"".join(streams[0])).decode(),
        "stderr": base64.b64encode(b"".join(streams[1])).decode(),
    }

for line in sys.stdin.buffer:
    sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
    sys.stdout.flush()
`;

export class PlainPython implements AsyncDisposable {
  readonly #daemon: DockerDaemon;
  readonly #id: string;
  readonly #socket: Duplex;
  readonly #answers: string[] = [];
  #partial = '';
  #diagnostics = '';
  #ended = false;
  #wake: () => void = () => undefined;

  private constructor(daemon: DockerDaemon, id: string, socket: Duplex) {
    this.#daemon = daemon;
    this.#id = id;
    this.#socket = socket;
    const demultiplexer = new AttachDemultiplexer(
      (data) => {
        const lines = (this.#partial + data.toString('latin1')).split('\n');
        this.#partial = lines.pop() ?? '';
        this.#answers.push(...lines);
        this.#wake();
      },
      (data) => {
        this.#diagnostics += data.toString('utf8');
      },
    );
    socket.on('data', (chunk: Buffer) => {
      demultiplexer.push(chunk);
    });
    socket.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Starts the container, in the shape a sandbox with these limits has. */
  static async start(
    image: string,
    limits: Limits,
    settings: { socketPath: string; seccompProfile: string; openFilesMax: number },
  ): Promise<PlainPython> {
    const daemon = new DockerDaemon({ socketPath: settings.socketPath, observe: () => undefined });
    const found = await daemon.images.find(image);
    if (!found) throw new Error(`there is no image ${image}`);
    const shape = {
      image,
      imageId: found.id,
      runtime: 'runc',
      network: 'none',
      memoryBytes: limits.memory_bytes,
      pids: limits.pids,
      cpus: limits.cpus,
      workBytes: limits.disk_bytes,
      tmpBytes: limits.memory_bytes / 8,
      preimports: [],
    };
    const labels = {
      [LABEL.instance]: 'differential-suite',
      [LABEL.boot]: randomUUID(),
      [LABEL.expires]: String(Math.ceil(Date.now() / 1000) + LIFETIME_S),
    };
    const spec = containerSpec(
      shape,
      { name: `plain-python-${randomUUID()}`, labels, uid: UID },
      { ...settings, command: ['python3', '-c', DRIVER], dnsServers: [] },
    );
    const threads = Object.entries(threadCounts(limits.cpus)).map(([name, value]) => `${name}=${value}`);
    const id = await daemon.create({ ...spec, Env: [...(spec.Env ?? []), ...threads] });
    const plain = new PlainPython(daemon, id, await daemon.attach(id));
    await daemon.start(id);
    return plain;
  }

  /** Runs one program; one at a time. */
  async run(files: Files, request: RunRequest, openFiles: number): Promise<Ending> {
    const entry = request.entryPoint ?? { kind: 'script', path: 'main.py' };
    const target = entry.kind === 'module' ? ['-m', entry.name] : [entry.path];
    const question = {
      files: Object.fromEntries(
        Object.entries(files).map(([path, content]) => [path, Buffer.from(content).toString('base64')]),
      ),
      arguments: [...target, ...request.args],
      stdin: Buffer.from(request.stdin).toString('base64'),
      environment: request.environment,
      openFiles,
    };
    this.#socket.write(`${JSON.stringify(question)}\n`);
    while (this.#answers.length === 0) {
      if (this.#ended) throw new Error(`plain python is gone: ${this.#diagnostics}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const answer = JSON.parse(this.#answers.shift() ?? '') as { status: number; stdout: string; stderr: string };
    return {
      status: answer.status,
      stdout: Buffer.from(answer.stdout, 'base64'),
      stderr: Buffer.from(answer.stderr, 'base64'),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.#daemon.remove(this.#id);
  }
}

/**
 * What Prometheus scrapes. Stages say what happened through plain callbacks; this
 * file turns that into series. Every label has a bounded set of values.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { AdvisoryReport } from '../domain/advisories.ts';
import type { AnalysisStatus } from '../domain/analysis.ts';
import { ERRORS, isErrorCode, type ErrorCode } from '../domain/errors.ts';
import { isRefusal, type Outcome, type Usage } from '../domain/outcome.ts';
import type { SandboxShape } from '../domain/plan.ts';

const LAG_INTERVAL_MS = 100;
const FAST_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const RUN_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900];
const MEMORY_BUCKETS = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192].map((mib) => mib * 2 ** 20);

const SECURITY_CODES: ReadonlySet<string> = new Set([
  'path_escape',
  'link_escape',
  'write_through_link',
  'hard_link',
  'special_file',
  'sparse_file',
  'ambiguous_header',
  'reserved_name',
  'compression_ratio',
  'too_many_entries',
  'image_not_allowed',
  'network_not_allowed',
  'requirements_not_allowed',
  'invalid_entrypoint',
  'invalid_environment',
]);

/** A name for a shape that is kept warm; as few of them as the operator configured. Anything else is `other`. */
function shapeLabel(shape: SandboxShape | undefined): string {
  if (!shape) return 'other';
  return [shape.image, ...(shape.layer === undefined ? [] : ['packages']), ...shape.preimports].join('+');
}

export class Metrics {
  readonly registry = new Registry();
  readonly #executions = this.#counter('pyexec_executions_total', 'Executions that ended', ['outcome', 'runtime']);
  readonly #accepted = this.#counter('pyexec_executions_accepted_total', 'Executions accepted', []);
  readonly #timeouts = this.#counter('pyexec_timeouts_total', 'Runs ended by a time limit', ['limit']);
  readonly #oomKills = this.#counter('pyexec_oom_kills_total', 'Runs ended by the memory limit', []);
  readonly #cpuSeconds = this.#counter('pyexec_cpu_seconds_total', 'CPU time used by runs', ['runtime']);
  readonly #truncated = this.#counter('pyexec_output_omitted_bytes_total', 'Output bytes counted but not kept', []);
  readonly #refusals = this.#counter('pyexec_requests_refused_total', 'Requests refused or failed, by code', ['code']);
  readonly #security = this.#counter('pyexec_security_refusals_total', 'Requests refused for a security rule', [
    'code',
  ]);
  readonly #callersRefused = this.#counter(
    'pyexec_authentication_failures_total',
    'Requests whose credentials were refused, by reason; above the limit of an address they are rate_limited',
    ['reason'],
  );
  readonly #auditFailures = this.#counter(
    'pyexec_audit_failures_total',
    'Attempts to write the audit log that failed',
    [],
  );
  readonly #orphans = this.#counter('pyexec_orphans_reaped_total', 'Containers removed that nobody owned', []);
  readonly #removeFailures = this.#counter(
    'pyexec_container_remove_failures_total',
    'Containers that could not be removed at first',
    [],
  );
  readonly #daemonErrors = this.#counter('pyexec_docker_errors_total', 'Docker daemon calls that failed', ['call']);
  readonly #daemonSeconds = this.#histogram(
    'pyexec_docker_call_seconds',
    'Docker daemon call latency',
    ['call'],
    FAST_BUCKETS_S,
  );
  readonly #phaseSeconds = this.#histogram(
    'pyexec_phase_seconds',
    'Time of each phase of an execution: archive, queue, acquire, start, first_byte, run, total, teardown',
    ['phase'],
    RUN_BUCKETS_S,
  );
  readonly #poolTakes = this.#counter('pyexec_pool_takes_total', 'Runs that found a warm sandbox, or did not', [
    'result',
    'shape',
  ]);
  readonly #poolDiscards = this.#counter('pyexec_pool_discards_total', 'Warm sandboxes destroyed unused', [
    'reason',
    'shape',
  ]);
  readonly #poolAge = this.#histogram(
    'pyexec_pool_age_seconds',
    'Age of warm sandboxes when used',
    ['shape'],
    [1, 5, 15, 60, 300, 900, 3600],
  );
  readonly #poolRefill = this.#histogram(
    'pyexec_pool_refill_seconds',
    'Time to make a warm sandbox',
    ['shape'],
    FAST_BUCKETS_S,
  );
  readonly #layers = this.#counter('pyexec_layers_total', 'Runs that asked for packages, by what came of it', [
    'result',
  ]);
  readonly #layerSeconds = this.#histogram(
    'pyexec_layer_seconds',
    'Time of each phase of packages: resolve, install and seal once a layer, attach once a run',
    ['phase'],
    RUN_BUCKETS_S,
  );
  readonly #analyses = this.#counter('pyexec_analyses_total', 'Analyses of submitted code, by what came of them', [
    'result',
  ]);
  readonly #analysisSeconds = this.#histogram(
    'pyexec_analysis_seconds',
    'Time of an analysis of submitted code, waiting for its place included',
    [],
    RUN_BUCKETS_S,
  );
  readonly #advisoryChecks = this.#counter(
    'pyexec_advisory_checks_total',
    'Checks of packages for known vulnerabilities, one a run that installs some, by what came of them',
    ['result'],
  );
  readonly #advisoriesRefused = this.#counter(
    'pyexec_advisory_findings_refused_total',
    'Known vulnerabilities for which runs were refused',
    [],
  );
  readonly #advisorySeconds = this.#histogram(
    'pyexec_advisory_source_seconds',
    'Time of a whole answer of the source of advisories, by what came of it',
    ['result'],
    RUN_BUCKETS_S,
  );
  readonly #webhooks = this.#counter('pyexec_webhook_attempts_total', 'Attempts to deliver a webhook', ['result']);
  readonly #memoryPeak = this.#histogram('pyexec_memory_peak_bytes', 'Peak memory of runs', [], MEMORY_BUCKETS);
  readonly #projectBytes = this.#histogram(
    'pyexec_project_bytes',
    'Unpacked size of accepted projects',
    [],
    [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144].map((kib) => kib * 1024),
  );
  readonly #requests = this.#histogram(
    'pyexec_http_request_seconds',
    'HTTP requests',
    ['method', 'route', 'status'],
    RUN_BUCKETS_S,
  );

  constructor(gauges: Readonly<Record<string, { readonly help: string; readonly read: () => number }>>) {
    // The lag of the event loop is measured by a timer: every 10 ms, as it would be, is a hundredth of a processor at rest.
    // Its figures hold the interval itself.
    const eventLoopMonitoringPrecision = LAG_INTERVAL_MS;
    collectDefaultMetrics({ register: this.registry, prefix: 'pyexec_', eventLoopMonitoringPrecision });
    this.gauges(gauges);
  }

  /** Adds values that are read when they are scraped. */
  gauges(gauges: Readonly<Record<string, { readonly help: string; readonly read: () => number }>>): void {
    for (const [name, { help, read }] of Object.entries(gauges)) {
      new Gauge({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.set(read());
        },
      });
    }
  }

  /** Adds, for every shape of the warm pool, how many sandboxes there are and how many are wanted. */
  poolShapes(
    read: () => readonly { readonly shape: SandboxShape; readonly ready: number; readonly wanted: number }[],
  ): void {
    const each = (name: string, help: string, numberOf: (of: ReturnType<typeof read>[number]) => number) =>
      new Gauge({
        name,
        help,
        labelNames: ['shape'],
        registers: [this.registry],
        collect() {
          this.reset();
          // Layers have one name together.
          for (const shelf of read()) this.inc({ shape: shapeLabel(shelf.shape) }, numberOf(shelf));
        },
      });
    each('pyexec_pool_shape_ready', 'Warm sandboxes of a shape waiting for a run', ({ ready }) => ready);
    each('pyexec_pool_shape_wanted', 'Warm sandboxes of a shape that are wanted', ({ wanted }) => wanted);
  }

  accepted(projectBytes: number): void {
    this.#accepted.inc();
    this.#projectBytes.observe(projectBytes);
  }

  phase(
    name: 'archive' | 'queue' | 'acquire' | 'start' | 'first_byte' | 'run' | 'total' | 'teardown',
    durationMs: number,
  ): void {
    this.#phaseSeconds.observe({ phase: name }, durationMs / 1000);
  }

  ended(outcome: Outcome, usage: Usage | undefined, runtime: string, totalMs: number): void {
    // What any caller can bring about must not look like a failure of the service, which pages somebody.
    this.#executions.inc({ outcome: isRefusal(outcome) ? 'refused' : outcome.kind, runtime });
    if (outcome.kind === 'timed_out') this.#timeouts.inc({ limit: outcome.limit });
    if (outcome.kind === 'out_of_memory') this.#oomKills.inc();
    this.phase('total', totalMs);
    if (!usage) return;
    this.phase('run', usage.wall_ms);
    if (usage.cpu_ms !== undefined) this.#cpuSeconds.inc({ runtime }, usage.cpu_ms / 1000);
    if (usage.memory_peak_bytes !== undefined) this.#memoryPeak.observe(usage.memory_peak_bytes);
  }

  omitted(bytes: number): void {
    this.#truncated.inc(bytes);
  }

  refused(code: string): void {
    this.#refusals.inc({ code: isErrorCode(code) ? code : 'internal' });
    if (SECURITY_CODES.has(code)) this.#security.inc({ code });
  }

  callerRefused(reason: string): void {
    this.#callersRefused.inc({ reason });
  }

  auditFailed(): void {
    this.#auditFailures.inc();
  }

  request(method: string, route: string, status: number, durationMs: number): void {
    this.#requests.observe({ method, route, status: String(status) }, durationMs / 1000);
  }

  daemonCall(call: string, durationMs: number, failed: boolean): void {
    this.#daemonSeconds.observe({ call }, durationMs / 1000);
    if (failed) this.#daemonErrors.inc({ call });
  }

  pool(
    event:
      | { readonly kind: 'hit'; readonly ageMs: number; readonly preimported: boolean; readonly shape: SandboxShape }
      | { readonly kind: 'miss' | 'refill_failed'; readonly shape?: SandboxShape }
      | { readonly kind: 'refilled'; readonly durationMs: number; readonly shape: SandboxShape }
      | { readonly kind: 'discarded'; readonly reason: string; readonly shape: SandboxShape },
  ): void {
    const shape = shapeLabel(event.shape);
    switch (event.kind) {
      case 'hit':
        this.#poolTakes.inc({ result: event.preimported ? 'preimported' : 'hit', shape });
        this.#poolAge.observe({ shape }, event.ageMs / 1000);
        break;
      case 'miss':
        this.#poolTakes.inc({ result: 'miss', shape });
        break;
      case 'refilled':
        this.#poolRefill.observe({ shape }, event.durationMs / 1000);
        break;
      case 'discarded':
        this.#poolDiscards.inc({ reason: event.reason, shape });
        break;
      case 'refill_failed':
        this.#poolDiscards.inc({ reason: 'start_failed', shape });
        break;
    }
  }

  layerAttached(cached: boolean, durationMs: number): void {
    this.#layers.inc({ result: cached ? 'found' : 'built' });
    this.#layerSeconds.observe({ phase: 'attach' }, durationMs / 1000);
  }

  layerFailed(code: string): void {
    this.#layers.inc({ result: isErrorCode(code) ? code : 'internal' });
  }

  layerPhase(phase: 'resolve' | 'install' | 'seal', durationMs: number): void {
    this.#layerSeconds.observe({ phase }, durationMs / 1000);
  }

  /** @param result the status of its report, or the code a run was refused with. */
  analyzed(result: AnalysisStatus | ErrorCode, durationMs: number): void {
    this.#analyses.inc({ result });
    this.#analysisSeconds.observe(durationMs / 1000);
  }

  advisoriesChecked({ report, refused }: { readonly report: AdvisoryReport; readonly refused?: ErrorCode }): void {
    const { count = 0, status } = report;
    const found = count > 0 ? 'findings' : 'clean';
    this.#advisoryChecks.inc({ result: refused ?? (status === 'complete' ? found : status) });
    if (refused === 'advisory_findings') this.#advisoriesRefused.inc(count);
  }

  /** @param result `answered`, or why there is no answer. */
  advisoriesAsked(result: string, durationMs: number): void {
    this.#advisorySeconds.observe({ result }, durationMs / 1000);
  }

  webhook(result: 'delivered' | 'failed' | 'dead'): void {
    this.#webhooks.inc({ result });
  }

  orphanReaped(): void {
    this.#orphans.inc();
  }

  removeFailed(): void {
    this.#removeFailures.inc();
  }

  async render(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() };
  }

  #counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    const counter = new Counter({ name, help, labelNames: [...labelNames], registers: [this.registry] });
    // Codes are known beforehand: their series exist from the start, so that rates and alerts work.
    if (name === 'pyexec_requests_refused_total') {
      for (const code of Object.keys(ERRORS)) counter.inc({ code } as Partial<Record<Label, string>>, 0);
    }
    return counter;
  }

  #histogram<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    buckets: readonly number[],
  ): Histogram<Label> {
    return new Histogram({
      name,
      help,
      labelNames: [...labelNames],
      buckets: [...buckets],
      registers: [this.registry],
    });
  }
}

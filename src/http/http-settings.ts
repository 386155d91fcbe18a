/**
 * What the door is built from: the engine behind it, the operator's settings and
 * those who watch it. Values only; src/app.ts fills them in.
 */
import type { FastifyBaseLogger } from 'fastify';
import type { Caller } from '../domain/caller.ts';
import type { Credentials, RefusalReason } from '../domain/credentials.ts';
import type { IsolationReport } from '../execution/isolation-report.ts';
import type { Executions } from '../execution/executions.ts';
import type { ArchiveLimits } from '../execution/project-gate.ts';
import type { RateLimitSettings } from './plugins/rate-limits.ts';

export interface HttpSettings {
  /** Largest request body as sent, whatever its form. */
  readonly bodyBytesMax: number;
  readonly archiveLimits: ArchiveLimits;
  readonly spoolDirectory: string;
  readonly stdinBytesMax: number;
  /** How long a request may take to arrive completely. */
  readonly uploadTimeoutMs: number;
  readonly connectionsMax: number;
  /** Proxies whose X-Forwarded-For is believed; empty: none. */
  readonly trustProxy: readonly string[];
  /** Longest silence on a stream of events; kept below the 15 s we promise. */
  readonly heartbeatMs?: number;
  /** How long a socket may stand still while one side should be sending. */
  readonly stallTimeoutMs?: number;
  /** How long answers in progress may go on when the server closes. */
  readonly closeGraceMs?: number;
}

/** An image that can be run, as the engine knows it. */
export interface ImageListing {
  readonly reference: string;
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly sizeBytes: number;
  /** Whether it is what a request without an image gets. */
  readonly isDefault: boolean;
}

export interface RequestObservation {
  /** One of a fixed list; `OTHER` for the rest. */
  readonly method: string;
  /** The route's pattern, `unmatched` or `unparsed`. */
  readonly route: string;
  /** What was answered; 499 when the client left first. */
  readonly status: number;
  readonly durationMs: number;
  /** The code of the problem document, where one was made. */
  readonly code?: string;
}

export interface RefusedCaller {
  readonly reason: RefusalReason;
  readonly requestId: string;
  readonly address: string;
  readonly method: string;
  /** The route's pattern, or `unmatched`. */
  readonly route: string;
}

export interface ArchiveObservation {
  readonly durationMs: number;
  readonly bytes: number;
  readonly refusedCode?: string;
}

export interface HttpDependencies {
  readonly executions: Executions;
  readonly settings: HttpSettings;
  readonly images: () => Promise<readonly ImageListing[]>;
  /** Who a request is from. Throws unauthenticated, identity_unavailable. */
  readonly identify: (credentials: Credentials) => Promise<Caller>;
  /** Which of `docs` and `metrics` are open to everybody. */
  readonly openRoutes: readonly string[];
  readonly rateLimits: RateLimitSettings;
  /** Told of every request whose credentials were refused, up to the limit of an address. */
  readonly observeRefusedCaller?: (refusal: RefusedCaller) => void;
  readonly readiness: () => Promise<{
    readonly ready: boolean;
    readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly detail?: string }>>;
  }>;
  /** What isolation is really applied, found by a probe. */
  readonly isolation: () => Promise<IsolationReport>;
  readonly renderMetrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
  readonly observeRequest?: (observation: RequestObservation) => void;
  readonly observeArchive?: (observation: ArchiveObservation) => void;
  readonly logger: FastifyBaseLogger;
  readonly version: string;
}

export const DEFAULT_HEARTBEAT_MS = 10_000;
export const DEFAULT_STALL_TIMEOUT_MS = 60_000;
export const DEFAULT_CLOSE_GRACE_MS = 5_000;

/**
 * The service, put together: the engine, who its callers are, and the door. Nothing else builds a stage.
 */
import type { FastifyInstance } from 'fastify';
import { checkExposure, openIdentity, rateLimitsOf, type Identity } from './composition/identity.ts';
import { pairsOf } from './composition/setting-pairs.ts';
import type { Config } from './config/config.ts';
import { pythonExecutorDoor } from './doors/python-executor/routes.ts';
import { buildEngine, type Engine } from './engine.ts';
import { buildHttpServer } from './http/server.ts';
import type { Logger } from './telemetry/logger.ts';

const MIB = 2 ** 20;

export interface App extends Engine {
  readonly http: FastifyInstance;
}

/** What callers are recognised by; the engine is closed when it cannot be opened. */
async function openIdentityFor(engine: Engine, config: Config, logger: Logger): Promise<Identity> {
  try {
    return await openIdentity(config, logger, (isRevoked) => {
      engine.executions.cancelOfRevoked(isRevoked);
    });
  } catch (error) {
    await engine.close(0);
    throw error;
  }
}

/**
 * Builds the whole service, not yet listening.
 * @throws {ConfigError} as buildEngine does.
 */
export async function buildApp(config: Config, logger: Logger, version: string): Promise<App> {
  checkExposure(config);
  const engine = await buildEngine(config, logger);
  const identity = await openIdentityFor(engine, config, logger);
  const http = await buildHttpServer(
    {
      executions: engine.executions,
      settings: {
        bodyBytesMax: engine.archiveLimits.bodyBytes,
        archiveLimits: engine.archiveLimits,
        spoolDirectory: config.PYEXEC_SPOOL_DIR,
        stdinBytesMax: config.PYEXEC_MAX_STDIN_MB * MIB,
        uploadTimeoutMs: config.PYEXEC_UPLOAD_TIMEOUT * 1000,
        connectionsMax: config.PYEXEC_MAX_CONNECTIONS,
        trustProxy: config.PYEXEC_TRUST_PROXY,
      },
      images: engine.images,
      identify: identity.identify,
      openRoutes: config.PYEXEC_OPEN_ROUTES,
      rateLimits: rateLimitsOf(config),
      observeRefusedCaller: (refused) => {
        engine.metrics.callerRefused(refused.reason);
        engine.audit.refusedCaller(refused);
      },
      readiness: engine.readiness,
      renderMetrics: () => engine.metrics.render(),
      isolation: engine.isolation,
      observeRequest: ({ method, route, status, durationMs, code }) => {
        engine.metrics.request(method, route, status, durationMs);
        if (code !== undefined) engine.metrics.refused(code);
      },
      observeArchive: ({ durationMs }) => {
        engine.metrics.phase('archive', durationMs);
      },
      logger,
      version,
    },
    [
      pythonExecutorDoor({
        pythonImages: pairsOf(config.PYEXEC_PYTHON_IMAGES, 'PYEXEC_PYTHON_IMAGES'),
        detectsImports: config.PYEXEC_AUTO_DETECT_IMPORTS,
        toolFacts: { timeoutSeconds: config.PYEXEC_DEFAULT_TIMEOUT, memoryMib: config.PYEXEC_DEFAULT_MEMORY_MB },
      }),
    ],
  );
  const close = async (graceMs: number) => {
    // Streams of runs stay open while they drain; what was asked before the server closes is still answered.
    await engine.drain(graceMs);
    await http.close();
    identity.close();
    await engine.close(0);
  };
  return { ...engine, http, close };
}

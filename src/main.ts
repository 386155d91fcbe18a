/**
 * The process: settings, app, listen, drain. The only place that ends it.
 *
 * A fault nobody handled ends the process: whoever restarts it finds every
 * container labelled and removes it.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import closeWithGrace from 'close-with-grace';
import { buildApp } from './app.ts';
import { ConfigError, describeConfig, readConfig, type Config } from './config/config.ts';
import packageJson from '../package.json' with { type: 'json' };
import { createLogger } from './telemetry/logger.ts';

/** What closing needs beyond the runs' grace period: cancelled runs reporting, containers being removed. */
const CLOSE_MARGIN_MS = 20_000;

/** Says why the service does not start, in words for the operator, and ends. */
function refuseToStart(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`pyexec does not start: ${message}\n`);
  process.exit(error instanceof ConfigError ? 78 : 1);
}

function listenFailure(error: unknown, config: Config): Error {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const where = `${config.PYEXEC_HOST}:${String(config.PYEXEC_PORT)}`;
  if (code === 'EADDRINUSE')
    return new ConfigError(`${where} is in use by another program; set PYEXEC_PORT to a free port`);
  if (code === 'EACCES')
    return new ConfigError(`this user may not listen on ${where}; set PYEXEC_PORT to a port above 1023`);
  if (code === 'EADDRNOTAVAIL')
    return new ConfigError(`this machine has no address ${config.PYEXEC_HOST}; set PYEXEC_HOST`);
  return error instanceof Error ? error : new Error(String(error));
}

/**
 * Fails as listening would. Asked before anything is built: a second start by mistake has the
 * same instance name, and would take the running server's containers for what a crash left behind.
 */
async function checkAddress({ PYEXEC_HOST: host, PYEXEC_PORT: port }: Config): Promise<void> {
  const server = createServer().listen({ host, port });
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

async function main(): Promise<void> {
  const config = readConfig();
  if (process.argv.includes('--check-config')) {
    process.stdout.write(`${describeConfig(config)}\n`);
    return;
  }
  await checkAddress(config).catch((error: unknown) => {
    throw listenFailure(error, config);
  });
  const logger = createLogger(config.PYEXEC_LOG_LEVEL);
  const graceMs = config.PYEXEC_SHUTDOWN_GRACE * 1000;
  const booting = buildApp(config, logger, packageJson.version);
  let isLeaving = false;
  closeWithGrace({ delay: graceMs + CLOSE_MARGIN_MS, logger: false }, async ({ signal, err }) => {
    if (err) logger.fatal({ err }, 'unhandled fault');
    else logger.info({ signal }, 'draining');
    isLeaving = true;
    // A boot is seen through: what it has begun, containers for one, can be undone only when it is known.
    const app = await booting;
    await app.close(err ? 0 : graceMs);
    logger.info('closed');
  });
  const app = await booting;
  if (isLeaving) return;
  try {
    await app.http.listen({ host: config.PYEXEC_HOST, port: config.PYEXEC_PORT });
  } catch (error) {
    await app.close(0);
    throw listenFailure(error, config);
  }
}

main().catch(refuseToStart);

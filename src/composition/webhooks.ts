/**
 * Webhooks: the table of deliveries, the guard and those who deliver.
 */
import { ConfigError, type Config } from '../config/config.ts';
import { SERVICE, type Caller } from '../domain/caller.ts';
import type { Executions } from '../execution/executions.ts';
import { WebhookTable } from '../store/webhook-table.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { isReceiver, ReceiverGuard } from '../webhooks/receiver-guard.ts';
import { WebhookDeliveries } from '../webhooks/webhook-deliveries.ts';

/** Sees every execution: it only tells whoever asked to be told. */
const INSIDER: Caller = { ...SERVICE, scopes: new Set(['admin'] as const) };

/** @throws {ConfigError} when an entry of the allow-list means nothing. */
export function buildWebhooks(
  config: Config,
  { directory, logger, metrics }: { directory: string; logger: Logger; metrics: Metrics },
): {
  readonly deliveries: WebhookDeliveries;
  /** Goes on with what an earlier process left. */
  resume(executions: Executions): void;
  close(): Promise<void>;
} {
  for (const entry of config.PYEXEC_WEBHOOK_ALLOWED_HOSTS) {
    if (!isReceiver(entry)) {
      throw new ConfigError(`PYEXEC_WEBHOOK_ALLOWED_HOSTS: ${entry} is no host name, address or network`);
    }
  }
  const table = new WebhookTable(directory);
  const deliveries = new WebhookDeliveries({
    table,
    guard: new ReceiverGuard({
      allowsHttp: config.PYEXEC_WEBHOOK_ALLOW_HTTP,
      ports: config.PYEXEC_WEBHOOK_PORTS,
      allowed: config.PYEXEC_WEBHOOK_ALLOWED_HOSTS,
    }),
    secret: config.PYEXEC_WEBHOOK_SECRET || undefined,
    attemptsMax: config.PYEXEC_WEBHOOK_ATTEMPTS,
    retryMs: config.PYEXEC_WEBHOOK_RETRY * 1000,
    timeoutMs: config.PYEXEC_WEBHOOK_TIMEOUT * 1000,
    pendingMax: config.PYEXEC_WEBHOOK_MAX_PENDING,
    userAgent: 'pyexec-webhooks/1',
    observe: (result, { id, executionId, attempts, lastError }, err) => {
      metrics.webhook(result);
      const line = { delivery_id: id, execution_id: executionId, attempts, last_error: lastError, err };
      if (result !== 'delivered') logger.warn(line, result === 'dead' ? 'a webhook was given up' : 'a webhook failed');
    },
    onError: (err) => {
      logger.error({ err }, 'webhooks could not be recorded');
    },
  });
  metrics.gauges({
    pyexec_webhooks_due: { help: 'Webhooks to be delivered', read: () => deliveries.dueCount },
    pyexec_webhooks_dead: { help: 'Webhooks that were given up', read: () => deliveries.deadCount },
  });
  return {
    deliveries,
    resume: (executions) => {
      deliveries.recover(async (id) => {
        try {
          return await executions.get(id, INSIDER).snapshot();
        } catch {
          // Its record is gone, or was never made whole.
          return undefined;
        }
      });
    },
    close: async () => {
      await deliveries.close();
      table.close();
    },
  };
}

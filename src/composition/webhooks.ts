/**
 * Webhooks: the table of deliveries, the guard and those who deliver.
 */
import { ConfigError, type Config } from '../config/config.ts';
import type { DeliveryTable } from '../domain/webhook.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { isReceiver, ReceiverGuard } from '../webhooks/receiver-guard.ts';
import { WebhookDeliveries } from '../webhooks/webhook-deliveries.ts';
import { certificatesIn } from './certificates.ts';

/** @throws {ConfigError} when an entry of the allow-list means nothing, or the file of certificates cannot be used. */
export function buildWebhooks(
  config: Config,
  { table, logger, metrics }: { table: DeliveryTable; logger: Logger; metrics: Metrics },
): WebhookDeliveries {
  for (const entry of config.PYEXEC_WEBHOOK_ALLOWED_HOSTS) {
    if (!isReceiver(entry)) {
      throw new ConfigError(`PYEXEC_WEBHOOK_ALLOWED_HOSTS: ${entry} is no host name, address or network`);
    }
  }
  const deliveries = new WebhookDeliveries({
    table,
    guard: new ReceiverGuard({
      allowsHttp: config.PYEXEC_WEBHOOK_ALLOW_HTTP,
      ports: config.PYEXEC_WEBHOOK_PORTS,
      allowed: config.PYEXEC_WEBHOOK_ALLOWED_HOSTS,
    }),
    ca: certificatesIn(config.PYEXEC_WEBHOOK_CA_FILE, 'PYEXEC_WEBHOOK_CA_FILE'),
    secret: config.PYEXEC_WEBHOOK_SECRET || undefined,
    attemptsMax: config.PYEXEC_WEBHOOK_ATTEMPTS,
    retryMs: config.PYEXEC_WEBHOOK_RETRY * 1000,
    timeoutMs: config.PYEXEC_WEBHOOK_TIMEOUT * 1000,
    pendingMax: config.PYEXEC_WEBHOOK_MAX_PENDING,
    userAgent: 'pyexec-webhooks/1',
    observe: (result, { id, executionId, attempts, lastError }, err) => {
      const line = { delivery_id: id, execution_id: executionId, attempts, last_error: lastError, err };
      if (result === 'dropped') logger.warn(line, 'a webhook was dropped: its execution was never accepted');
      else metrics.webhook(result);
      if (result === 'failed') logger.warn(line, 'a webhook failed');
      if (result === 'dead') logger.warn(line, 'a webhook was given up');
    },
    onError: (err) => {
      logger.error({ err }, 'webhooks could not be recorded; it is tried again');
    },
  });
  metrics.gauges({
    pyexec_webhooks_due: { help: 'Webhooks to be delivered', read: () => deliveries.dueCount },
    pyexec_webhooks_dead: { help: 'Webhooks that were given up', read: () => deliveries.deadCount },
  });
  return deliveries;
}

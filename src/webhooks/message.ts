/**
 * What a webhook says: the execution as `GET` shows it, with no more than the
 * beginning of a long output. Pure.
 */
import type { Execution } from '../domain/execution.ts';
import type { WebhookDelivery } from '../domain/webhook.ts';

/** UTF-16 units kept of each stream; a multiple of 4, so that base64 stays whole. */
const OUTPUT_MAX = 64 * 1024;

/** The message as JSON. */
export function messageOf(delivery: WebhookDelivery, execution: Execution): string {
  const cut: string[] = [];
  const kept: Record<string, string> = {};
  for (const stream of ['stdout', 'stderr'] as const) {
    const text = execution[stream];
    if (text === undefined || text.length <= OUTPUT_MAX) continue;
    cut.push(stream);
    // Half of a surrogate pair at the end goes too.
    kept[stream] = text.slice(0, OUTPUT_MAX).replace(/[\uD800-\uDBFF]$/, '');
  }
  return JSON.stringify({
    delivery_id: delivery.id,
    ...execution,
    ...kept,
    ...(cut.length === 0 ? {} : { output_cut: cut }),
  });
}

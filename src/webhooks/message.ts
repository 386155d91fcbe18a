/**
 * What a webhook says: the execution as `GET` shows it, with no more than the
 * beginning of a long output, and without what would make the message too long to be
 * kept for a receiver that is away. Pure.
 */
import type { Execution } from '../domain/execution.ts';
import type { WebhookDelivery } from '../domain/webhook.ts';

/** UTF-16 units kept of each stream; a multiple of 4, so that base64 stays whole. */
const OUTPUT_MAX = 64 * 1024;
const MESSAGE_BYTES_MAX = 2 ** 20;
/** What a program decides the length of, beside its streams; `GET` has all of it. */
const LONG_FIELDS = [
  'displays',
  'results',
  'result',
  'exception',
  'analysis',
  'artifacts',
  'artifacts_skipped',
] as const;
const CONTENTS = 'artifacts.content';

/** The message as JSON. */
export function messageOf(delivery: WebhookDelivery, execution: Execution): string {
  const cut: string[] = [];
  const kept: Record<string, unknown> = { ...execution };
  for (const stream of ['stdout', 'stderr'] as const) {
    const text = execution[stream];
    if (text === undefined || text.length <= OUTPUT_MAX) continue;
    cut.push(stream);
    // Half of a surrogate pair at the end goes too.
    kept[stream] = text.slice(0, OUTPUT_MAX).replace(/[\uD800-\uDBFF]$/, '');
  }
  const written = () =>
    JSON.stringify({ delivery_id: delivery.id, ...kept, ...(cut.length === 0 ? {} : { output_cut: cut }) });
  let message = written();
  for (const name of longestFirst(execution)) {
    if (Buffer.byteLength(message) <= MESSAGE_BYTES_MAX) break;
    if (name !== CONTENTS) kept[name] = undefined;
    else kept['artifacts'] = kept['artifacts'] && withoutContents(execution);
    cut.push(name);
    message = written();
  }
  return message;
}

/** The long fields there are, and the contents of artifacts apart from their list. */
function longestFirst(execution: Execution): readonly string[] {
  const lengths = new Map<string, number>();
  const put = (name: string, value: unknown) => {
    if (value !== undefined) lengths.set(name, JSON.stringify(value).length);
  };
  for (const name of LONG_FIELDS) put(name, name === 'artifacts' ? withoutContents(execution) : execution[name]);
  const contents = (execution.artifacts ?? []).flatMap(({ content }) => content ?? []);
  if (contents.length > 0) put(CONTENTS, contents);
  return [...lengths].sort(([, one], [, other]) => other - one).map(([name]) => name);
}

function withoutContents({ artifacts }: Execution) {
  return artifacts?.map(({ content: _, ...artifact }) => artifact);
}

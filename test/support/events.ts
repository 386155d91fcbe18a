/** The events in the encoded lines an execution is followed by. */
import type { ExecutionEvent } from '../../src/domain/events.ts';
import type { EventLines } from '../../src/output/event-lines.ts';

/** One event at a time; what arrived together is not waited for again. */
export async function* eventsOf(lines: AsyncIterable<EventLines>): AsyncGenerator<ExecutionEvent, void, void> {
  for await (const { bytes } of lines) {
    for (const line of bytes.toString('utf8').split('\n').slice(0, -1)) yield JSON.parse(line) as ExecutionEvent;
  }
}

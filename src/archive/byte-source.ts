/**
 * Small stages between the caller's bytes and the tar walker: cancelling, the cap
 * on the body, looking ahead, and cutting into equal blocks.
 *
 * None of them looks at the content or keeps more than one block.
 */
import { ServiceError } from '../domain/errors.ts';

/**
 * Reads `source` until it ends or `signal` aborts, which throws the signal's
 * reason at once, even while the source is silent. The source's iterator is closed
 * in every case.
 */
export async function* cancellable(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer, void, void> {
  signal?.throwIfAborted();
  const iterator = source[Symbol.asyncIterator]();
  let interrupt: (reason: unknown) => void = () => undefined;
  const onAbort = () => interrupt(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  let isOver = false;
  try {
    for (;;) {
      signal?.throwIfAborted();
      const step = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        interrupt = reject;
        iterator.next().then(resolve, reject);
      });
      isOver = step.done === true;
      if (step.done) return;
      yield Buffer.from(step.value.buffer, step.value.byteOffset, step.value.byteLength);
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    if (!isOver) {
      const closed = Promise.resolve(iterator.return?.()).catch(() => undefined);
      // A silent generator answers only after its next chunk: not waited for.
      if (!signal?.aborted) await closed;
    }
  }
}

/** Passes on at most `bodyBytes`, and throws `body_too_large` where more follow. */
export async function* capped(source: AsyncIterable<Buffer>, bodyBytes: number): AsyncGenerator<Buffer, void, void> {
  let room = bodyBytes;
  for await (const chunk of source) {
    // What is within the cap is judged first, so the verdict does not depend on the chunks.
    if (room > 0) yield chunk.subarray(0, room);
    room -= chunk.length;
    if (room < 0) throw new ServiceError('body_too_large', `The project exceeds ${bodyBytes} bytes as sent.`);
  }
}

/** The first `count` bytes, fewer where the source is shorter, and the source with them still in front. */
export async function peek(
  source: AsyncGenerator<Buffer, void, void>,
  count: number,
): Promise<{ first: Buffer; all: AsyncGenerator<Buffer, void, void> }> {
  let first = Buffer.alloc(0);
  while (first.length < count) {
    const step = await source.next();
    if (step.done) break;
    first = Buffer.concat([first, step.value]);
  }
  const all = async function* (): AsyncGenerator<Buffer, void, void> {
    if (first.length > 0) yield first;
    yield* source;
  };
  return { first, all: all() };
}

/**
 * Cuts a stream into blocks of `size` bytes (the last may be shorter). A decoder
 * behind it sees the same blocks however the network cut them, and so fails at the
 * same place.
 */
export async function* inBlocks(source: AsyncIterable<Buffer>, size: number): AsyncGenerator<Buffer, void, void> {
  let block = Buffer.allocUnsafeSlow(size);
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length;) {
      const taken = Math.min(size - filled, chunk.length - at);
      chunk.copy(block, filled, at, at + taken);
      filled += taken;
      at += taken;
      if (filled === size) {
        yield block;
        block = Buffer.allocUnsafeSlow(size);
        filled = 0;
      }
    }
  }
  if (filled > 0) yield block.subarray(0, filled);
}

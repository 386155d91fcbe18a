/** Frames joined in one buffer: what is written is what was added, and the buffer is used again only when it may be. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameWriter } from '../../../src/sandbox/supervisor/frame-writer.ts';
import { encodeFrame, FRAME, FrameDecoder } from '../../../src/sandbox/supervisor/protocol.ts';

test('a payload of any size arrives whole, in frames between whole frames, through a buffer of any size', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 6000 }),
      fc.array(fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.constant('frame' as const)), { maxLength: 8 }),
      fc.integer({ min: 1, max: 4000 }),
      async (bufferBytes, steps, fillMax) => {
        const decoder = new FrameDecoder();
        const seen: [number, string][] = [];
        let isWriting = false;
        const writer = new FrameWriter(bufferBytes, async (data) => {
          expect(isWriting).toBe(false);
          isWriting = true;
          // As late as a socket would read it.
          await new Promise((resolve) => setImmediate(resolve));
          for (const { type, payload } of decoder.push(Buffer.from(data)))
            seen.push([type, payload.toString('latin1')]);
          isWriting = false;
        });
        let expected = '';
        let wholeFrames = 0;
        for (const [index, step] of steps.entries()) {
          if (step === 'frame') {
            wholeFrames += 1;
            await writer.frame(encodeFrame(FRAME.RUN, Buffer.alloc(1500, 'r')));
            continue;
          }
          const letter = String.fromCharCode(97 + index);
          expected += letter.repeat(step);
          for (let sent = 0; sent < step;) {
            sent += await writer.payload(FRAME.ARCHIVE, (room) => {
              const bytes = Math.min(room.length, step - sent, fillMax);
              room.fill(letter, 0, bytes);
              return bytes;
            });
          }
        }
        await writer.flush();
        const payload = seen.flatMap(([type, text]) => (type === FRAME.ARCHIVE ? [text] : [])).join('');
        expect(payload).toBe(expected);
        expect(seen.filter(([type]) => type === FRAME.RUN)).toEqual(
          Array.from({ length: wholeFrames }, () => [FRAME.RUN, 'r'.repeat(1500)]),
        );
      },
    ),
    { numRuns: 200 },
  );
});

test('a payload that is not there is an error, never an empty frame', async () => {
  const writer = new FrameWriter(1000, () => Promise.resolve());
  await expect(writer.payload(FRAME.ARCHIVE, () => 0)).rejects.toThrow('ended early');
});

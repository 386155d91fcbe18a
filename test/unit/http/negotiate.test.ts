/** Which response form a client gets, by its headers. */
import { describe, expect, it } from 'vitest';
import { JSON_TYPE, NDJSON_TYPE, negotiate, SSE_TYPE } from '../../../src/http/response-forms/negotiate.ts';
import { parsePrefer } from '../../../src/http/response-forms/prefer.ts';

const OFFERS = [JSON_TYPE, NDJSON_TYPE, SSE_TYPE] as const;

describe('Accept', () => {
  it.each([
    [undefined, JSON_TYPE],
    ['', JSON_TYPE],
    ['*/*', JSON_TYPE],
    ['application/json', JSON_TYPE],
    ['APPLICATION/JSON', JSON_TYPE],
    ['application/*', JSON_TYPE],
    ['application/x-ndjson', NDJSON_TYPE],
    ['text/event-stream', SSE_TYPE],
    ['text/event-stream; charset=utf-8', SSE_TYPE],
    ['text/*', SSE_TYPE],
    // Quality decides first.
    ['application/json;q=0.5, text/event-stream', SSE_TYPE],
    ['application/json;q=0.1, application/x-ndjson;q=0.2, text/event-stream;q=0.15', NDJSON_TYPE],
    ['text/event-stream;q=0.9, */*;q=0.1', SSE_TYPE],
    // The most specific range that matches gives the quality.
    ['*/*;q=1, application/json;q=0', NDJSON_TYPE],
    ['application/*;q=0.9, application/json;q=0.1, text/event-stream;q=0.5', NDJSON_TYPE],
    ['application/json;q=0, application/*', NDJSON_TYPE],
    // Between equals: what is named, then our order.
    ['text/event-stream, */*', SSE_TYPE],
    ['application/json, text/event-stream', JSON_TYPE],
    ['text/event-stream, application/json', JSON_TYPE],
    ['application/json, text/plain, */*', JSON_TYPE],
    // What a browser sends.
    ['text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8', JSON_TYPE],
    // Malformed ranges are left out, the rest counts.
    ['garbage, text/event-stream', SSE_TYPE],
    ['application/json;q=2, text/event-stream;q=0.1', SSE_TYPE],
    ['*/json, text/event-stream;q=0.1', SSE_TYPE],
  ] as const)('%s', (accept, expected) => {
    expect(negotiate(accept, OFFERS)).toBe(expected);
  });

  it.each([
    'text/html',
    'application/json;q=0',
    '*/*;q=0',
    'application/xml, image/*',
    'garbage',
    'application/json;q=x',
  ])('%s is not acceptable', (accept) => {
    expect(() => negotiate(accept, OFFERS)).toThrow(expect.objectContaining({ code: 'not_acceptable' }));
  });

  it('is linear in the length of the header', () => {
    const startedAt = performance.now();
    expect(() => negotiate(`${'a'.repeat(8000)}${',;q='.repeat(2000)}`, OFFERS)).toThrow();
    expect(performance.now() - startedAt).toBeLessThan(500);
  });
});

describe('Prefer', () => {
  it.each([
    [undefined, false, undefined],
    ['respond-async', true, undefined],
    ['Respond-Async', true, undefined],
    ['respond-async, wait=10', true, 10_000],
    ['wait=10,respond-async', true, 10_000],
    ['wait="3"; foo, respond-async; bar=1', true, 3_000],
    ['return=minimal', false, undefined],
    ['wait=x, respond-async', true, undefined],
    ['respond-asynchronously', false, undefined],
    [['return=minimal', 'respond-async'], true, undefined],
  ] as const)('%s', (header, respondAsync, waitMs) => {
    expect(parsePrefer(header)).toEqual({ respondAsync, waitMs });
  });
});

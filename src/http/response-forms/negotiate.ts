/**
 * Which of the offered response forms a client wants, by its Accept header
 * (RFC 9110, 12.5.1). Pure.
 *
 * Each offer gets the quality of the most specific range that matches it. Between
 * equals an offer that is named wins over one that only a wildcard covers, then
 * the earlier in our own order. Parameters other than `q` are ignored.
 */
import { ServiceError } from '../../domain/errors.ts';

export const JSON_TYPE = 'application/json';
export const NDJSON_TYPE = 'application/x-ndjson';
export const SSE_TYPE = 'text/event-stream';

interface Range {
  readonly type: string;
  readonly subtype: string;
  readonly quality: number;
}

const TOKEN = "[\\w!#$%&'*+.^`|~-]+";
const RANGE = new RegExp(`^(${TOKEN})/(${TOKEN})$`);
const QUALITY = /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/;

function parseRange(text: string): Range | undefined {
  const [name = '', ...parameters] = text.split(';');
  const [, type, subtype] = RANGE.exec(name.trim().toLowerCase()) ?? [];
  if (type === undefined || subtype === undefined || (type === '*' && subtype !== '*')) return undefined;
  let quality = 1;
  for (const parameter of parameters) {
    const [key = '', value = ''] = parameter.split('=');
    if (key.trim().toLowerCase() !== 'q') continue;
    if (!QUALITY.test(value.trim())) return undefined;
    quality = Number(value.trim());
  }
  return { type, subtype, quality };
}

/** 3 for `a/b`, 2 for `a/*`, 1 for everything, 0 for no match. */
function specificity(range: Range, offer: string): number {
  const [type, subtype] = offer.split('/');
  if (range.type === '*') return 1;
  if (range.type !== type) return 0;
  if (range.subtype === '*') return 2;
  return range.subtype === subtype ? 3 : 0;
}

/**
 * The offer to answer with.
 * @param offers in the order we prefer them; an absent or empty header takes the first.
 * @throws {ServiceError} not_acceptable, naming what is offered.
 */
export function negotiate<Offer extends string>(
  accept: string | undefined,
  offers: readonly [Offer, ...Offer[]],
): Offer {
  if (accept === undefined || accept.trim() === '') return offers[0];
  const ranges = accept.split(',').flatMap((text) => parseRange(text) ?? []);
  let best: { offer: Offer; quality: number; specificity: number } | undefined;
  for (const offer of offers) {
    let matched = { quality: 0, specificity: 0 };
    for (const range of ranges) {
      const found = specificity(range, offer);
      if (found > matched.specificity) matched = { quality: range.quality, specificity: found };
    }
    if (matched.quality === 0) continue;
    const isNamed = matched.specificity === 3;
    const isBetter =
      !best ||
      matched.quality > best.quality ||
      (matched.quality === best.quality && isNamed && best.specificity !== 3);
    if (isBetter) best = { offer, ...matched };
  }
  if (!best) {
    throw new ServiceError('not_acceptable', `This route answers with ${offers.join(', ')}.`, {
      members: { offered: offers },
    });
  }
  return best.offer;
}

/**
 * The preferences of RFC 7240 this service honours: `respond-async`, and with it
 * `wait=<seconds>`. Pure.
 *
 * A preference is a wish: what is unknown or malformed is ignored, never refused.
 */

export interface Preferences {
  readonly respondAsync: boolean;
  /** How long the client is ready to wait for the whole answer first. */
  readonly waitMs: number | undefined;
}

/** Reads the Prefer header; the first occurrence of a preference counts. */
export function parsePrefer(header: string | readonly string[] | undefined): Preferences {
  const text = Array.isArray(header) ? header.join(',') : String(header ?? '');
  let respondAsync = false;
  let waitMs: number | undefined;
  for (const preference of text.split(',')) {
    const [name = '', value = ''] = (preference.split(';')[0] ?? '').split('=').map((part) => part.trim());
    if (name.toLowerCase() === 'respond-async') respondAsync = true;
    if (name.toLowerCase() === 'wait' && /^"?\d{1,6}"?$/.test(value))
      waitMs ??= Number(value.replaceAll('"', '')) * 1000;
  }
  return { respondAsync, waitMs };
}

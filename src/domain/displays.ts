/**
 * Displays: what a program showed while it ran, as a bundle of representations by
 * media type. Field names are wire names.
 */

export interface Display {
  /** By media type: text as it is, JSON as a value, everything else as base64. */
  readonly data: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Present when a representation was left out because it was too large. */
  readonly truncated?: true;
}

/** How much a run may show. */
export interface DisplayLimits {
  readonly count: number;
  /** Of all representations together, before base64. */
  readonly bytes: number;
}

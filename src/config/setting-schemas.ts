/**
 * How the value of a setting is written and checked: text in, a value or a sentence out.
 */
import { z } from 'zod';

/** Rows of settings. `fallback` is written as the variable would be, so that defaults pass through the same checks. */
export type SettingTable = Readonly<
  Record<string, { readonly schema: z.ZodType; readonly fallback: string | undefined; readonly about: string }>
>;

/** A whole number within bounds, written in decimal digits. */
export function integer(minimum: number, maximum: number) {
  return z
    .string()
    .regex(/^\d{1,12}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, {
      message: `must be between ${String(minimum)} and ${String(maximum)}`,
    });
}

/** A number of sandboxes or a range of two; `composition/pool-targets.ts` judges the numbers. */
export const poolSize = z.string().regex(/^\d{1,12}(-\d{1,12})?$/, 'must be a whole number or a range of two');

export function decimal(minimum: number, maximum: number) {
  return z
    .string()
    .regex(/^\d{1,6}(\.\d{1,3})?$/, 'must be a number')
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, {
      message: `must be between ${String(minimum)} and ${String(maximum)}`,
    });
}

/** The spellings python-executor takes. Never a coercion: "false" is not true. */
export const boolean = z
  .enum(['true', '1', 'yes', 'false', '0', 'no'], { error: 'must be true or false' })
  .transform((value) => value === 'true' || value === '1' || value === 'yes');

export const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);

export const text = z.string().min(1, 'must not be empty');

/** An http or https URL that is nothing but where a service is. */
export const httpUrl = z.string().refine(
  (value) => {
    if (!URL.canParse(value)) return false;
    const { protocol, username, password, search, hash } = new URL(value);
    return /^https?:$/.test(protocol) && username === '' && password === '' && search === '' && hash === '';
  },
  { message: 'must be an http or https URL without credentials' },
);

/** `user:password`, or nothing. */
export const credentials = z
  .string()
  .regex(/^(?:[^\x00-\x20\x7F:]+:[^\x00-\x20\x7F]+)?$/, 'must be of the form user:password')
  .max(4096);

export const unsupported = (reason: string) => z.string().refine(() => false, { message: reason });

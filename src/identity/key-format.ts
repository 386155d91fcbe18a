/**
 * How an API key is written: `pyx_`, 256 random bits, a checksum, in letters and
 * digits. Pure but for the randomness.
 *
 * The prefix lets scanners find a key that was published by mistake; the checksum
 * tells a damaged key from a wrong one without asking the store. Neither is a secret.
 *
 * A key is stored as its plain SHA-256. Slow, salted hashes protect what people
 * choose; nobody can try 2^256 keys, however fast each try is, and a slow hash on
 * every request would be a way to keep the server busy.
 */
import { createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

export const KEY_PREFIX = 'pyx_';
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const SECRET_BYTES = 32;
/** 62^43 > 2^256, 62^6 > 2^32. */
const SECRET_CHARS = 43;
const CHECKSUM_CHARS = 6;
const KEY = /^pyx_[0-9A-Za-z]{49}$/;

function base62(value: bigint, length: number): string {
  let text = '';
  for (let rest = value; rest > 0n; rest /= 62n) text = (ALPHABET[Number(rest % 62n)] ?? '') + text;
  return text.padStart(length, '0');
}

const checksumOf = (secret: string): string => base62(BigInt(crc32(KEY_PREFIX + secret)), CHECKSUM_CHARS);

/** A new key, to be shown once and then forgotten. */
export function newKey(): string {
  const secret = base62(BigInt(`0x${randomBytes(SECRET_BYTES).toString('hex')}`), SECRET_CHARS);
  return KEY_PREFIX + secret + checksumOf(secret);
}

/** Whether `text` has the form of a key and its checksum is right. */
export function isKey(text: string): boolean {
  if (!KEY.test(text)) return false;
  const secret = text.slice(KEY_PREFIX.length, -CHECKSUM_CHARS);
  return text.slice(-CHECKSUM_CHARS) === checksumOf(secret);
}

/** What is stored of a key. */
export function hashOfKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/**
 * Where a connection wants to go, and whether it may. Pure.
 *
 * A destination is brought into one form before anything is decided, and only that
 * form is used afterwards. What cannot be brought into it is refused: odd spellings
 * of an address are how allow-lists are passed. An empty list allows nothing.
 */
import { BlockList, isIP, isIPv6 } from 'node:net';

export interface Destination {
  /** Lower case, without a trailing dot; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

// Letters, digits, dashes; at least one label that is not only digits, so that no spelling of an IPv4 address passes.
const HOST_NAME =
  /^(?=.{1,253}$)(?!.*(?:^|\.)(?:0x[0-9a-f]*|\d+)$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

/**
 * The destination `host:port` or `[v6]:port` means; undefined when it means nothing or two things.
 * @param defaultPort for an authority that may leave it out.
 */
export function parseAuthority(authority: string, defaultPort?: number): Destination | undefined {
  const match = /^(?:\[([0-9a-f:.]{2,45})\]|([^:[\]@/\\?#%\s\0]{1,255}))(?::(\d{1,5}))?$/i.exec(authority);
  if (!match) return undefined;
  const [, bracketed, plain, digits] = match;
  const port = digits === undefined ? defaultPort : Number(digits);
  if (port === undefined || port < 1 || port > 65_535) return undefined;
  if (bracketed !== undefined) return isIPv6(bracketed) ? { host: bracketed.toLowerCase(), port } : undefined;
  const host = (plain ?? '').toLowerCase().replace(/\.$/, '');
  if (isIP(host) === 4 || HOST_NAME.test(host)) return { host, port };
  return undefined;
}

export function sameDestination(a: Destination, b: Destination): boolean {
  return a.host === b.host && a.port === b.port;
}

/** Addresses that are not on the public internet, or not one machine's (IANA's special-purpose registries). */
const NOT_PUBLIC = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const) {
  NOT_PUBLIC.addSubnet(network, prefix, 'ipv4');
}
/** Of IPv6 only global unicast is public, and of that not what carries other addresses or is for documents. */
const GLOBAL_UNICAST = new BlockList();
GLOBAL_UNICAST.addSubnet('2000::', 3, 'ipv6');
const SPECIAL_UNICAST = new BlockList();
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  SPECIAL_UNICAST.addSubnet(network, prefix, 'ipv6');
}

/** Whether an address is one on the public internet. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !NOT_PUBLIC.check(address, 'ipv4');
    case 6:
      return GLOBAL_UNICAST.check(address, 'ipv6') && !SPECIAL_UNICAST.check(address, 'ipv6');
    default:
      return false;
  }
}

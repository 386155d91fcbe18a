/**
 * Which servers may be sent to. A caller names the URL, so it must not become a
 * way to reach what only this machine can reach.
 *
 * An address is allowed when it is one of the public internet, or the operator
 * named it. A name is resolved here, once; every address it has is judged, and the
 * one that was judged is the one to connect to.
 */
import { lookup } from 'node:dns/promises';
import ipaddr from 'ipaddr.js';
import { ServiceError } from '../domain/errors.ts';

const URL_LENGTH_MAX = 2048;
/** Public by its number, but answers virtual machines with their host's metadata. */
const METADATA_ADDRESSES: ReadonlySet<string> = new Set(['168.63.129.16']);

/** The addresses of a host name; rejects when it has none. */
export type Resolver = (host: string) => Promise<readonly string[]>;

export interface ReceiverRules {
  /** Whether `http:` is allowed beside `https:`. */
  readonly allowsHttp: boolean;
  readonly ports: readonly number[];
  /** Host names, addresses and networks (`10.1.0.0/16`) that are allowed although they are not public. */
  readonly allowed: readonly string[];
}

/** The receiver may not be sent to. Never shown to the caller: it says what names resolve to. */
export class ReceiverRefused extends Error {
  override readonly name = 'ReceiverRefused';
}

const systemResolver: Resolver = async (host) =>
  (await lookup(host, { all: true, order: 'verbatim' })).map(({ address }) => address);

type Network = ReturnType<typeof ipaddr.parseCIDR>;

/** The network an entry of the allow-list means; undefined for a host name. */
function networkOf(entry: string): Network | undefined {
  if (ipaddr.isValidCIDR(entry)) return ipaddr.parseCIDR(entry);
  const address = bareHost(entry);
  if (!ipaddr.isValid(address)) return undefined;
  const parsed = ipaddr.parse(address);
  return [parsed, parsed.kind() === 'ipv4' ? 32 : 128];
}

/** Whether an entry of the allow-list means anything. */
export function isReceiver(entry: string): boolean {
  return networkOf(entry) !== undefined || /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(entry);
}

export class ReceiverGuard {
  readonly #rules: ReceiverRules;
  readonly #resolve: Resolver;
  readonly #networks: readonly Network[];
  readonly #hosts: ReadonlySet<string>;

  constructor(rules: ReceiverRules, resolve: Resolver = systemResolver) {
    this.#rules = rules;
    this.#resolve = resolve;
    this.#networks = rules.allowed.map((entry) => networkOf(entry)).filter((network) => network !== undefined);
    this.#hosts = new Set(rules.allowed.filter((entry) => !networkOf(entry)).map((entry) => entry.toLowerCase()));
  }

  /**
   * What can be said of a URL without asking anybody.
   * @throws {ServiceError} invalid_webhook.
   */
  check(text: string): URL {
    const refuse = (why: string) =>
      new ServiceError('invalid_webhook', `The webhook URL ${why}.`, { members: { field: 'webhook.url' } });
    if (text.length > URL_LENGTH_MAX) throw refuse(`may have at most ${String(URL_LENGTH_MAX)} characters`);
    if (!URL.canParse(text)) throw refuse('is not an absolute URL');
    const url = new URL(text);
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && this.#rules.allowsHttp)) {
      throw refuse(`must begin with https:${this.#rules.allowsHttp ? ' or http:' : ''}`);
    }
    if (url.username !== '' || url.password !== '') throw refuse('must not hold a user name or password');
    if (!this.#rules.ports.includes(portOf(url))) {
      throw refuse(`must use port ${this.#rules.ports.join(' or ')}`);
    }
    const host = bareHost(url.hostname);
    if (ipaddr.isValid(host) && !this.#mayReach(host)) throw refuse('names an address that is not allowed');
    return url;
  }

  /**
   * The address to connect to for a URL.
   * @throws {ServiceError} as check; {ReceiverRefused} when the name leads anywhere it must not.
   */
  async addressOf(text: string): Promise<{ url: URL; address: string }> {
    const url = this.check(text);
    const host = bareHost(url.hostname);
    if (ipaddr.isValid(host)) return { url, address: host };
    const addresses = await this.#resolve(host);
    const [first] = addresses;
    if (first === undefined) throw new ReceiverRefused('the name has no address');
    const isNamed = this.#hosts.has(host.toLowerCase());
    if (!isNamed && !addresses.every((address) => this.#mayReach(address))) {
      throw new ReceiverRefused('the name leads to an address that is not allowed');
    }
    return { url, address: first };
  }

  #mayReach(text: string): boolean {
    if (!ipaddr.isValid(text)) return false;
    const address = ipaddr.parse(text);
    const isAllowed = this.#networks.some((network) => network[0].kind() === address.kind() && address.match(network));
    return isAllowed || isPublic(address);
  }
}

/** Nothing but the public internet: neither private, local, shared, reserved nor a way to write another address. */
function isPublic(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  if (address.range() !== 'unicast' || METADATA_ADDRESSES.has(address.toString())) return false;
  // All of IPv6 that has ever been given out as public is in 2000::/3.
  return address instanceof ipaddr.IPv4 || ((address.parts[0] ?? 0) & 0xe000) === 0x2000;
}

/** Of `[::1]` the address. */
function bareHost(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host;
}

function portOf({ port, protocol }: URL): number {
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
}

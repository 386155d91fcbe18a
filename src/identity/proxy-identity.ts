/**
 * Recognises a caller by what a trusted reverse proxy says in a header.
 *
 * The header counts only on a connection from the proxy itself: the address of the
 * socket, never one that a header claims. From anybody else it is as if it were not
 * there. A proxy that sends it twice has passed on what a client sent: refused.
 */
import { BlockList, isIP } from 'node:net';
import type { Caller, Scope } from '../domain/caller.ts';
import { NotRecognised, type Credentials } from '../domain/credentials.ts';

/** Printable ASCII without a comma, which is how somebody on the way would have joined two values. */
const NAME = /^[\x21-\x2b\x2d-\x7e](?:[\x20-\x2b\x2d-\x7e]{0,126}[\x21-\x2b\x2d-\x7e])?$/;
/** Names that PYEXEC_TRUST_PROXY may have for networks, as Fastify takes them. */
const NAMED_NETWORKS: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
  uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
};

export interface ProxySettings {
  /** Addresses and networks of the proxies. */
  readonly trusted: readonly string[];
  /** The header that names the caller, in lower case. */
  readonly header: string;
  readonly scopes: ReadonlySet<Scope>;
}

/**
 * A function from a request to the caller its proxy names; undefined where it has none.
 * @throws {Error} naming the network that is none.
 */
export function proxyReader({ trusted, header, scopes }: ProxySettings): (shown: Credentials) => Caller | undefined {
  const proxies = networksOf(trusted);
  return (shown) => {
    if (!isTrusted(proxies, shown.peerAddress)) return undefined;
    const [name, ...others] = shown.header(header);
    if (name === undefined) return undefined;
    if (others.length > 0) throw new NotRecognised('several_given', 'The request carries more than one identity.');
    if (!NAME.test(name)) throw new NotRecognised('malformed', 'The proxy names no valid caller.');
    return { id: `proxy:${name}`, scopes };
  };
}

function networksOf(texts: readonly string[]): BlockList {
  const networks = new BlockList();
  for (const text of texts.flatMap((one) => NAMED_NETWORKS[one] ?? [one])) {
    const [address = '', prefix] = text.split('/', 2);
    const family = isIP(address);
    const bits = prefix === undefined ? (family === 6 ? 128 : 32) : Number(prefix);
    if (family === 0 || !/^\d{1,3}$/.test(prefix ?? '0') || bits > (family === 6 ? 128 : 32)) {
      throw new Error(`${text} is not an address or network`);
    }
    networks.addSubnet(address, bits, family === 6 ? 'ipv6' : 'ipv4');
  }
  return networks;
}

/** An IPv4 peer on a socket for both families has an address of the form ::ffff:192.0.2.1. */
function isTrusted(proxies: BlockList, peerAddress: string): boolean {
  const address = peerAddress.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  const family = isIP(address);
  return family !== 0 && proxies.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

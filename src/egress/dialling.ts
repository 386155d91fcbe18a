/**
 * From a destination to a connection: on the list, its name resolved once, and the
 * address that was checked is the one that is dialled.
 */
import { lookup } from 'node:dns/promises';
import { connect, type Socket } from 'node:net';
import { isPublicAddress, sameDestination, type Destination } from './destinations.ts';

/** A destination that may be reached. */
export interface AllowedDestination extends Destination {
  /** Present: the gate speaks TLS with it, for clients that ask in the clear. Absent: as the client does. */
  readonly tls?: {
    /** Certificates (PEM) that are trusted; absent: those Node.js trusts. */
    readonly certificates?: readonly string[];
    /** Value of the header `authorization`; the client never sees it. */
    readonly authorization?: string;
  };
}

export interface EgressRules {
  readonly allowed: readonly AllowedDestination[];
  /** Whether the names on the list may stand for addresses that are not public: an index of the operator's own. */
  readonly allowsPrivateAddresses: boolean;
  /** Bytes towards the client, of all its connections together. */
  readonly bytesMax: number;
  /** Bytes from the client: requests are short. */
  readonly bytesSentMax: number;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** The destination cannot be had: `refused` by the rules, or `unreachable`. */
export class NoWay extends Error {
  readonly verdict: 'refused' | 'unreachable';
  constructor(verdict: 'refused' | 'unreachable', message: string) {
    super(message);
    this.verdict = verdict;
  }
}

/** The address to dial for an allowed destination. @throws {NoWay} */
export async function addressOf(
  destination: Destination,
  rules: EgressRules,
): Promise<{ readonly allowed: AllowedDestination; readonly address: string }> {
  const allowed = rules.allowed.find((other) => sameDestination(other, destination));
  if (!allowed) throw new NoWay('refused', 'not on the list');
  let addresses: readonly { readonly address: string }[];
  try {
    addresses = await lookup(destination.host, { all: true, order: 'ipv4first' });
  } catch {
    throw new NoWay('unreachable', 'the name is not known');
  }
  const [first] = addresses;
  if (!first) throw new NoWay('unreachable', 'the name has no address');
  // One bad address condemns all: which one is dialled must not be up to the resolver.
  if (!rules.allowsPrivateAddresses && !addresses.every(({ address }) => isPublicAddress(address))) {
    throw new NoWay('refused', 'the address is not public');
  }
  return { allowed, address: first.address };
}

/** A connection to an allowed destination. @throws {NoWay} */
export async function dial(destination: Destination, rules: EgressRules): Promise<Socket> {
  const { address } = await addressOf(destination, rules);
  const socket = connect({ host: address, port: destination.port });
  return new Promise((resolve, reject) => {
    const fail = (message: string) => {
      socket.destroy();
      reject(new NoWay('unreachable', message));
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => {
      fail('no connection in time');
    });
    socket.once('error', () => {
      fail('no connection');
    });
    socket.once('connect', () => {
      socket.removeAllListeners('error').removeAllListeners('timeout').setTimeout(0);
      // Whoever uses it sees the end of it.
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}

/** Whether a destination on the list can be connected to now. */
export async function isReachable(destination: Destination, rules: EgressRules): Promise<boolean> {
  try {
    (await dial(destination, rules)).destroy();
    return true;
  } catch {
    return false;
  }
}

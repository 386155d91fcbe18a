/**
 * Who a request is from, by the ways the operator allows: API keys, tokens of an
 * identity provider, a reverse proxy that has asked already.
 *
 * A request has one identity. Two credentials, also the same one twice, are refused:
 * whichever were chosen, somebody in between may have chosen the other.
 */
import { ANONYMOUS, type Caller } from '../domain/caller.ts';
import { NotRecognised, type Credentials } from '../domain/credentials.ts';
import { callerOfKey, type KeyLookup } from './api-keys.ts';
import { KEY_PREFIX } from './key-format.ts';

/** The ways that are open; all absent: everybody is anonymous. */
export interface Ways {
  readonly keys?: KeyLookup;
  /** The caller a token stands for. */
  readonly token?: (token: string) => Promise<Caller>;
  /** The caller a proxy names; undefined where the request does not come from one, or it names nobody. */
  readonly proxy?: (credentials: Credentials) => Caller | undefined;
}

const BEARER = /^Bearer +([\w\-.~+/]+=*)$/i;
const CREDENTIAL_CHARS_MAX = 12_000;

/** Recognises callers in the `ways` that are open. */
export function recogniser(ways: Ways): (credentials: Credentials) => Promise<Caller> {
  if (!ways.keys && !ways.token && !ways.proxy) return () => Promise.resolve(ANONYMOUS);
  return async (credentials) => {
    const tokens = tokensOf(credentials);
    const named = ways.proxy?.(credentials);
    if (tokens.length + (named ? 1 : 0) > 1) {
      throw new NotRecognised('several_given', 'The request carries more than one identity.');
    }
    if (named) return named;
    const [token] = tokens;
    if (token === undefined) throw new NotRecognised('none_given', 'This server asks for credentials.');
    if (token.startsWith(KEY_PREFIX)) {
      if (ways.keys) return callerOfKey(token, ways.keys, Date.now());
    } else if (ways.token) return ways.token(token);
    throw new NotRecognised('malformed', 'This server does not take credentials of this kind.');
  };
}

/** What stands in the headers that carry a secret, one for each line. */
function tokensOf({ header }: Credentials): readonly string[] {
  const bearers = header('authorization').map((value) => {
    const token = value.length > CREDENTIAL_CHARS_MAX ? undefined : BEARER.exec(value)?.[1];
    if (token === undefined) {
      throw new NotRecognised('malformed', 'The Authorization header is not of the form "Bearer <token>".');
    }
    return token;
  });
  return [...bearers, ...header('x-api-key')];
}

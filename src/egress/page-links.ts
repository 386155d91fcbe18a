/**
 * Links of pages, for clients whose TLS the gate does: what an answer calls
 * `https://host/…` the client has to ask for as `http://host:443/…`. Pure.
 *
 * Only destinations that the gate speaks TLS with are changed; another link leads
 * where it says, and is refused there.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { AllowedDestination } from './dialling.ts';
import { parseAuthority } from './destinations.ts';

/** Media types of the pages of an index (PEP 503, PEP 691). */
const PAGE = /^(?:text\/html|application\/vnd\.pypi\.simple\.v1\+(?:html|json))(?=;|$)/i;

/** Whether an answer with these headers is a page. */
export function isPage(headers: IncomingHttpHeaders): boolean {
  return PAGE.test(headers['content-type']?.trim() ?? '');
}

/** JSON may write a slash as `\/`. An authority with anything odd in it is left as it is. */
const LINK = /https:(\\?\/\\?\/)([A-Za-z0-9._[\]:-]{1,280})(?=[\\/?#"'\s<>]|$)/gi;

/** The text with the links that the gate answers for. */
export function linksInTheClear(text: string, allowed: readonly AllowedDestination[]): string {
  return text.replaceAll(LINK, (link, slashes: string, authority: string) => {
    const named = parseAuthority(authority, 443);
    const isOurs = named && allowed.some(({ tls, host, port }) => tls && host === named.host && port === named.port);
    return isOurs ? `http:${slashes}${authorityOf(named)}` : link;
  });
}

/** Host and port as a URL has them. */
export function authorityOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
}

/**
 * How a file a stranger made is handed to a browser: what it may be shown as, and
 * under which name it is saved (RFC 6266, RFC 8187). Pure.
 */

/** Whatever is shown is shown without scripts, forms or an origin. */
export const SANDBOX_CSP = "default-src 'none'; sandbox; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/** What cannot hold anything active when it is not sniffed. */
const SHOWN: ReadonlySet<string> = new Set([
  'image/avif',
  'image/bmp',
  'image/gif',
  'image/jpeg',
  'image/png',
  'image/webp',
  'text/csv',
  'text/plain',
]);

/** Only the last component of `path` becomes a name; what a name cannot safely hold becomes `_`. */
export function contentDisposition(path: string, mediaType: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const ascii = name.replaceAll(/[^A-Za-z0-9 ._+@~-]/g, '_');
  const encoded = encodeURIComponent(name).replaceAll(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `${SHOWN.has(mediaType) ? 'inline' : 'attachment'}; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}

/** Links of a page that lead back to the gate, and those that do not. */
import { expect, it } from 'vitest';
import { isPage, linksInTheClear } from '../../../src/egress/page-links.ts';

const ALLOWED = [
  { host: 'index.example', port: 443, tls: {} },
  { host: 'files.example', port: 8443, tls: {} },
  { host: '2606:4700::1', port: 443, tls: {} },
  { host: 'plain.example', port: 443 },
];

it.each([
  ['<a href="https://index.example/x.whl#sha256=1">', '<a href="http://index.example:443/x.whl#sha256=1">'],
  ['"url": "https:\\/\\/Index.Example.\\/x"', '"url": "http:\\/\\/index.example:443\\/x"'],
  ["HTTPS://files.example:8443?q 'https://index.example'", "http://files.example:8443?q 'http://index.example:443'"],
  ['https://[2606:4700::1]/x', 'http://[2606:4700::1]:443/x'],
  ['https://index.example', 'http://index.example:443'],
])('%s is asked for through the gate', (text, clear) => {
  expect(linksInTheClear(text, ALLOWED)).toBe(clear);
});

it.each([
  'https://index.example.evil.example/x',
  'https://index.example@evil.example/x',
  'https://index.example:444/x',
  'https://files.example/x',
  'https://plain.example/x',
  'http://index.example/x',
  'https:/index.example/x',
  '/files/x.whl',
])('%s stays as it is', (text) => {
  expect(linksInTheClear(text, ALLOWED)).toBe(text);
});

it('pages are those of an index', () => {
  for (const type of ['text/html', 'Text/HTML; charset=utf-8', 'application/vnd.pypi.simple.v1+json']) {
    expect(isPage({ 'content-type': type })).toBe(true);
  }
  expect(isPage({ 'content-type': 'application/octet-stream' })).toBe(false);
  expect(isPage({})).toBe(false);
});

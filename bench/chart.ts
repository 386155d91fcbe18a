/**
 * The latency figures as a bar chart: SVG text, a bar to the median, a line to p99.
 */
import type { Summary } from './statistics.ts';

const ROW = 28;
const LEFT = 230;
const WIDTH = 820;

export function latencyChart(figures: Readonly<Record<string, Summary>>): string {
  const entries = Object.entries(figures).sort(([, a], [, b]) => a.p50 - b.p50);
  // Logarithmic: a warm run and a cold gVisor are two orders of magnitude apart.
  const most = Math.max(...entries.map(([, { p99 }]) => p99));
  const x = (ms: number) => LEFT + ((WIDTH - LEFT - 90) * Math.log10(Math.max(1, ms))) / Math.log10(Math.max(10, most));
  const height = entries.length * ROW + 50;
  const rows = entries.map(([name, { p50, p99 }], index) => {
    const y = 20 + index * ROW;
    const colour = name.startsWith('exec') ? '#2f6fde' : '#9aa4b2';
    return [
      `<text x="${String(LEFT - 8)}" y="${String(y + 15)}" text-anchor="end">${name}</text>`,
      `<rect x="${String(LEFT)}" y="${String(y + 3)}" width="${(x(p50) - LEFT).toFixed(1)}" height="16" fill="${colour}"/>`,
      `<line x1="${x(p50).toFixed(1)}" x2="${x(p99).toFixed(1)}" y1="${String(y + 11)}" y2="${String(y + 11)}" stroke="#444"/>`,
      `<text x="${(x(p99) + 6).toFixed(1)}" y="${String(y + 15)}">${p50.toFixed(1)} ms</text>`,
    ].join('');
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${String(WIDTH)}" height="${String(height)}" font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>${rows.join('')}<text x="${String(LEFT)}" y="${String(height - 12)}" fill="#666">bar: median, line: to the 99th percentile; logarithmic</text></svg>\n`;
}

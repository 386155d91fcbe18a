/**
 * Run as a process of its own: reads archives from files, all at once, and prints
 * as JSON what became of them and how far the memory of the process grew.
 *
 * usage: node archive-memory-probe.ts <spool directory> <limits as JSON> <archive>...
 */
import { createReadStream, readFileSync } from 'node:fs';
import { DEFAULT_ARCHIVE_LIMITS, readProject } from '../../src/archive/read-project.ts';

const [spoolDirectory = '', limitsJson = '{}', ...archives] = process.argv.slice(2);
const limits = { ...DEFAULT_ARCHIVE_LIMITS, ...(JSON.parse(limitsJson) as object) };

const before = process.memoryUsage.rss();
/** `resourceUsage().maxRSS` will not do: it begins with the size of the parent process. */
const peakBytes = () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
const growthBytes = () => peakBytes() - before;
/** Peaks, over what the process had before the first archive. */
const growth = { validatedBytes: 0, totalBytes: 0 };

async function verdict(path: string): Promise<string> {
  try {
    const project = await readProject(createReadStream(path), { gzip: 'detect', limits, spoolDirectory });
    growth.validatedBytes = growthBytes();
    let bytes = 0;
    for await (const part of project.read()) bytes += part.length;
    await project.dispose();
    return bytes === project.tarBytes ? `accepted ${project.entries.length}` : 'torn';
  } catch (error) {
    return String((error as { code?: unknown }).code);
  }
}

const verdicts = await Promise.all(archives.map(verdict));
growth.totalBytes = growthBytes();
process.stdout.write(JSON.stringify({ growth, verdicts }));

/**
 * The conversation with a source of advisories in the form of OSV: a list of packages
 * in, what is known of them out.
 *
 * The list of vulnerabilities must be had whole, or it is said that it was cut;
 * without it there is no answer. What describes one is had where it can be. There is
 * a bound on the time, the bytes, the pages and the number of everything.
 */
import type { AdvisoryAnswer, KnownAdvisory } from '../../domain/advisories.ts';
import { queryOf, readBatch, readVulnerability, type Vulnerability } from './osv-forms.ts';

/** Why a source gave no answer. */
export type SourceFault = 'unreachable' | 'refused' | 'timed_out' | 'too_large' | 'redirected' | 'invalid';

export class SourceFailure extends Error {
  override readonly name = 'SourceFailure';
  readonly fault: SourceFault;

  constructor(fault: SourceFault, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.fault = fault;
  }
}

/** A way to the source, for one answer. */
export interface SourceTalk {
  /** @param path begins with a slash. @throws {SourceFailure} */
  ask(question: {
    readonly path: string;
    /** JSON to post; absent: it is got. */
    readonly body?: string;
    readonly bytesMax: number;
  }): Promise<{ readonly status: number; readonly body: Buffer }>;
  close(): void;
}

export interface OsvSourceOptions {
  /** @throws {SourceFailure} */
  readonly open: (signal: AbortSignal) => Promise<SourceTalk>;
  /** For the whole answer. */
  readonly timeoutMs: number;
  /** Advisories of one answer; the rest is cut. */
  readonly advisoriesMax?: number;
  /** Rounds of pages of one answer; the rest is cut. */
  readonly pagesMax?: number;
}

const ADVISORIES_MAX = 500;
const PAGES_MAX = 20;
/** What OSV takes in one batch. */
const QUERIES_MAX = 1000;
const BATCH_BYTES_MAX = 2 ** 20;
const VULNERABILITY_BYTES_MAX = 2 ** 20;
const ASKED_AT_ONCE = 8;
/** Descriptions that are remembered: an advisory that was not modified is not fetched again. */
const REMEMBERED_MAX = 500;

/** Statuses that are about what was asked, not about the source. */
const OF_THE_QUESTION: ReadonlySet<number> = new Set([400, 413, 422]);

interface Listed {
  readonly package: string;
  readonly version: string;
  readonly id: string;
  readonly modified: string | undefined;
}

export class OsvSource {
  readonly #options: OsvSourceOptions;
  readonly #closing = new AbortController();
  readonly #remembered = new Map<string, Vulnerability>();

  constructor(options: OsvSourceOptions) {
    this.#options = options;
  }

  /**
   * @param packages `name==version`.
   * @throws {SourceFailure} when the list of vulnerabilities could not be had.
   */
  async ask(packages: readonly string[]): Promise<AdvisoryAnswer> {
    const { open, timeoutMs } = this.#options;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([deadline, this.#closing.signal]);
    let talk: SourceTalk | undefined;
    try {
      talk = await open(signal);
      const { listed, isCut } = await this.#list(talk, packages);
      const described = await this.#describe(talk, listed);
      const advisories = listed.flatMap((one): KnownAdvisory[] => {
        const { package: name, version, id } = one;
        const vulnerability = described.get(id);
        if (vulnerability?.isWithdrawn) return [];
        return [
          {
            package: name,
            version,
            id,
            details: vulnerability && (vulnerability.byPackage.get(name) ?? vulnerability.general),
          },
        ];
      });
      return { packagesChecked: packages.length, advisories, isCut };
    } catch (error) {
      if (deadline.aborted) throw new SourceFailure('timed_out', 'no answer in time', { cause: error });
      if (error instanceof SourceFailure) throw error;
      throw new SourceFailure('invalid', 'not an answer in the form of OSV', { cause: error });
    } finally {
      talk?.close();
    }
  }

  /** Ends what is being asked. */
  close(): void {
    this.#closing.abort();
  }

  /** Ids for every package, all pages of them. */
  async #list(talk: SourceTalk, packages: readonly string[]): Promise<{ listed: Listed[]; isCut: boolean }> {
    const { advisoriesMax = ADVISORIES_MAX, pagesMax = PAGES_MAX } = this.#options;
    const found = new Map<string, Listed>();
    type Open = { readonly name: string; readonly version: string; readonly page: string | undefined };
    let open = packages.map((line): Open => {
      const [name = '', version = ''] = line.split('==');
      return { name, version, page: undefined };
    });
    for (let round = 0; open.length > 0; round += 1) {
      if (round === pagesMax) return { listed: [...found.values()], isCut: true };
      const next: Open[] = [];
      for (let first = 0; first < open.length; first += QUERIES_MAX) {
        const asked = open.slice(first, first + QUERIES_MAX);
        const queries = asked.map(({ name, version, page }) => queryOf(name, version, page));
        const body = wanted(
          await talk.ask({ path: '/v1/querybatch', body: JSON.stringify({ queries }), bytesMax: BATCH_BYTES_MAX }),
        );
        for (const [place, { vulnerabilities, nextPage }] of readBatch(body, asked.length).entries()) {
          const of = asked[place];
          if (!of) continue;
          const { name, version } = of;
          for (const { id, modified } of vulnerabilities) {
            found.set(`${name} ${id}`, { package: name, version, id, modified });
            if (found.size > advisoriesMax) {
              return { listed: [...found.values()].slice(0, advisoriesMax), isCut: true };
            }
          }
          if (nextPage !== undefined) next.push({ name, version, page: nextPage });
        }
      }
      open = next;
    }
    return { listed: [...found.values()], isCut: false };
  }

  /** What is said of each, as far as it can be had. */
  async #describe(talk: SourceTalk, listed: readonly Listed[]): Promise<ReadonlyMap<string, Vulnerability>> {
    const described = new Map<string, Vulnerability>();
    const wantedIds = new Map(listed.map(({ id, modified }) => [id, modified]));
    const open = [...wantedIds];
    const next = async (): Promise<void> => {
      for (let entry = open.shift(); entry; entry = open.shift()) {
        const [id, modified] = entry;
        const vulnerability = await this.#vulnerability(talk, id, modified).catch(() => undefined);
        if (vulnerability) described.set(id, vulnerability);
      }
    };
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, next));
    return described;
  }

  async #vulnerability(talk: SourceTalk, id: string, modified: string | undefined): Promise<Vulnerability> {
    const name = `${id} ${modified ?? ''}`;
    const known = this.#remembered.get(name);
    if (known) return known;
    const path = `/v1/vulns/${encodeURIComponent(id)}`;
    const vulnerability = readVulnerability(wanted(await talk.ask({ path, bytesMax: VULNERABILITY_BYTES_MAX })), id);
    if (modified !== undefined) {
      this.#remembered.set(name, vulnerability);
      const [oldest] = this.#remembered.keys();
      if (this.#remembered.size > REMEMBERED_MAX && oldest !== undefined) this.#remembered.delete(oldest);
    }
    return vulnerability;
  }
}

/** The body of an answer that is one. @throws {SourceFailure} refused, redirected, invalid. */
function wanted({ status, body }: { readonly status: number; readonly body: Buffer }): Buffer {
  if (status === 200) return body;
  // It would lead to who knows where, with the operator's credentials.
  if (status >= 300 && status < 400) throw new SourceFailure('redirected', 'sent elsewhere');
  throw new SourceFailure(OF_THE_QUESTION.has(status) ? 'invalid' : 'refused', `status ${String(status)}`);
}

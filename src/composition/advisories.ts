/**
 * The room of advisories: the source, the way to it, and the answers that are kept.
 */
import { ConfigError, type Config } from '../config/config.ts';
import { AdvisoryBook } from '../dependencies/advisories/advisory-book.ts';
import { acceptedIds } from '../dependencies/advisories/advisory-findings.ts';
import { OsvSource, SourceFailure } from '../dependencies/advisories/osv-source.ts';
import { PackageAdvisories, type AdvisoryEvent } from '../dependencies/advisories/package-advisories.ts';
import type { AdvisoryTable } from '../domain/advisories.ts';
import { Conversation, NoAnswer } from '../egress/conversation.ts';
import type { EgressRules } from '../egress/dialling.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { operatorHost } from './operator-host.ts';

const MIB = 2 ** 20;
/** Of one answer, all its parts together. */
const ANSWER_BYTES_MAX = 64 * MIB;

export interface Advisories {
  readonly packages: PackageAdvisories;
  /** Ends what is being asked. Resolves when nothing is. */
  close(): Promise<void>;
}

/**
 * Undefined where no source is named.
 * @throws {ConfigError} naming the setting that cannot be used.
 */
export function buildAdvisories(
  config: Config,
  parts: {
    /** Absent where no source is named. */
    readonly table: AdvisoryTable | undefined;
    readonly logger: Logger;
    readonly metrics: Metrics;
    /** Hears of every check. */
    readonly checked: (event: AdvisoryEvent) => void;
  },
): Advisories | undefined {
  const { checked, logger, metrics, table } = parts;
  checkAdvisorySettings(config);
  if (!table) return undefined;
  const { url, destination } = operatorHost({
    prefix: 'PYEXEC_ADVISORIES',
    url: config.PYEXEC_ADVISORIES_URL,
    credentials: config.PYEXEC_ADVISORIES_CREDENTIALS,
    caFile: config.PYEXEC_ADVISORIES_CA_FILE,
  });
  const rules: EgressRules = {
    allowed: [destination],
    allowsPrivateAddresses: config.PYEXEC_ADVISORIES_PRIVATE,
    bytesMax: ANSWER_BYTES_MAX,
    bytesSentMax: ANSWER_BYTES_MAX,
  };
  const base = url.pathname.replace(/\/+$/, '');
  const source = new OsvSource({
    timeoutMs: config.PYEXEC_ADVISORIES_TIMEOUT * 1000,
    open: async (signal) => {
      const conversation = await asSource(Conversation.open(destination, rules, signal));
      return {
        ask: (question) => asSource(conversation.ask({ ...question, path: `${base}${question.path}` })),
        close: () => {
          conversation.close();
        },
      };
    },
  });
  const book = new AdvisoryBook({
    ask: (packages) => source.ask(packages),
    source: url.href,
    table: guarded(table, (err) => {
      logger.warn({ err }, 'an answer of the source of advisories could not be kept on the disk');
    }),
    refreshMs: config.PYEXEC_ADVISORIES_REFRESH * 1000,
    ageMsMax: config.PYEXEC_ADVISORIES_MAX_AGE * 1000,
    observe: ({ failure, durationMs }) => {
      const fault = failure instanceof SourceFailure ? failure.fault : 'invalid';
      metrics.advisoriesAsked(failure === undefined ? 'answered' : fault, durationMs);
      if (failure !== undefined) logger.warn({ err: failure, fault }, 'the source of advisories gave no answer');
    },
  });
  const packages = new PackageAdvisories({
    book,
    mode: config.PYEXEC_ADVISORIES,
    accepted: acceptedIds(config.PYEXEC_ADVISORIES_ACCEPTED),
    observe: (event) => {
      metrics.advisoriesChecked(event);
      checked(event);
    },
  });
  return {
    packages,
    close: async () => {
      source.close();
      await book.settled();
    },
  };
}

/** What contradicts itself, or would check nothing although somebody wants it. */
function checkAdvisorySettings(config: Config): void {
  const { PYEXEC_ADVISORIES: mode, PYEXEC_ADVISORIES_URL: url, PYEXEC_ADVISORIES_PRIVATE: isPrivate } = config;
  if (url === '') {
    if (mode === 'block') throw new ConfigError('PYEXEC_ADVISORIES: block needs a source; set PYEXEC_ADVISORIES_URL');
    return;
  }
  if (new URL(url).protocol === 'http:' && !isPrivate) {
    throw new ConfigError(
      'PYEXEC_ADVISORIES_URL: http only for a source in your own network, with PYEXEC_ADVISORIES_PRIVATE=true; use https',
    );
  }
}

/** The same, failing in the words of the source's client. */
async function asSource<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    // Whom the rules keep us from is out of reach.
    const fault = error.reason === 'refused' ? 'unreachable' : error.reason;
    throw new SourceFailure(fault, error.message, { cause: error.cause });
  }
}

/** The table, whose failures stop no run: what is not kept is asked for again. */
function guarded(table: AdvisoryTable, onError: (error: unknown) => void): AdvisoryTable {
  const quietly = (work: () => void) => {
    try {
      work();
    } catch (error) {
      onError(error);
    }
  };
  return {
    load: (max) => table.load(max),
    put: (kept) => {
      quietly(() => {
        table.put(kept);
      });
    },
    remove: (key) => {
      quietly(() => {
        table.remove(key);
      });
    },
  };
}

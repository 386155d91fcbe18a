/**
 * API keys: what each may do, and the hashes of its secrets. Never a key itself.
 *
 * A file of its own beside the server's database, open to the command line while the
 * server runs: every look-up reads what is there now, so a change counts from the
 * next request on. It does not check keys; src/identity does.
 */
import { randomBytes } from 'node:crypto';
import { chownSync, closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import type { ApiKey, KeyGrant, KeySecret } from '../domain/api-key.ts';
import type { Scope } from '../domain/caller.ts';
import type { Limits } from '../domain/limits.ts';

const VERSION = 1;
const BUSY_TIMEOUT_MS = 2_000;

const SCHEMA = `
  CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    maxima TEXT,
    images TEXT,
    concurrent_max INTEGER,
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
  ) STRICT;
  CREATE UNIQUE INDEX keys_by_name ON keys (name) WHERE revoked_at_ms IS NULL;
  CREATE TABLE secrets (
    hash BLOB PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id),
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = ${String(VERSION)};
`;

/** What was asked of the keys cannot be done; one sentence for the operator. */
class KeyStoreError extends Error {
  override readonly name = 'KeyStoreError';
}

/** Called with a change just before it is final; what it throws undoes it. */
type Witness = (key: ApiKey) => void;

type Row = Record<string, SQLOutputValue>;

export class KeyStore {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #inode: number;
  readonly #secretByHash: StatementSync;
  readonly #keyById: StatementSync;

  private constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
    this.#inode = statSync(path).ino;
    this.#secretByHash = database.prepare('SELECT * FROM secrets WHERE hash = ?');
    this.#keyById = database.prepare('SELECT * FROM keys WHERE id = ?');
  }

  /** Opens the file, making it (mode 0600, of the directory's owner) where there is none. */
  static open(path: string): KeyStore {
    const directory = dirname(path);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    closeSync(openSync(path, 'a', 0o600));
    const { uid, gid } = statSync(directory);
    // Made by root for a service that is somebody else. SQLite does the same for the files beside it.
    if (process.getuid?.() === 0 && statSync(path).uid !== uid) chownSync(path, uid, gid);
    const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    try {
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON');
      inTransaction(database, () => {
        const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
        if (version === 0) database.exec(SCHEMA);
        else if (version !== VERSION) throw new KeyStoreError(`${path} was written by another version of pyexec`);
      });
      return new KeyStore(database, path);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /**
   * What is kept under the hash of a secret, expired and revoked ones included.
   * @throws {KeyStoreError} when another file is in the place of the one that is open: the command line changes that
   *   one, so a key that is revoked would go on being found here.
   */
  find(hash: Uint8Array): { readonly key: ApiKey; readonly secret: KeySecret } | undefined {
    if (statSync(this.#path, { throwIfNoEntry: false })?.ino !== this.#inode) {
      throw new KeyStoreError(
        `${this.#path} was replaced or taken away; nobody is let in until the service is restarted`,
      );
    }
    const secret = this.#secretByHash.get(hash);
    const key = secret && this.#keyById.get(secret['key_id'] ?? null);
    return key && { key: keyOf(key), secret: secretOf(secret) };
  }

  /** Whether the key of this id was revoked. One that nobody knows was not. */
  isRevoked(id: string): boolean {
    const row = this.#keyById.get(id);
    return row !== undefined && row['revoked_at_ms'] !== null;
  }

  /** Every key, also those revoked, with its secrets; the oldest first. */
  list(): readonly { readonly key: ApiKey; readonly secrets: readonly KeySecret[] }[] {
    const secrets = this.#database.prepare('SELECT * FROM secrets WHERE key_id = ? ORDER BY created_at_ms');
    return this.#database
      .prepare('SELECT * FROM keys ORDER BY created_at_ms, id')
      .all()
      .map((row) => ({ key: keyOf(row), secrets: secrets.all(row['id'] ?? null).map(secretOf) }));
  }

  /** @throws {KeyStoreError} when there is a key of this name. */
  create(grant: KeyGrant, secret: KeySecret, witness: Witness): ApiKey {
    const key: ApiKey = { ...grant, id: randomBytes(8).toString('hex'), createdAtMs: secret.createdAtMs };
    inTransaction(this.#database, () => {
      if (this.#live(grant.name)) throw new KeyStoreError(`there is a key named ${grant.name} already; rotate it`);
      this.#database
        .prepare('INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)')
        .run(
          key.id,
          key.name,
          JSON.stringify(key.scopes),
          jsonOrNull(key.maxima),
          jsonOrNull(key.images),
          key.concurrentMax ?? null,
          key.createdAtMs,
        );
      this.#addSecret(key.id, secret);
      witness(key);
    });
    return key;
  }

  /**
   * Adds a secret; the key's others expire at `othersExpireAtMs`, or before as they were to.
   * @throws {KeyStoreError} when there is no such key.
   */
  rotate(name: string, secret: KeySecret, othersExpireAtMs: number, witness: Witness): ApiKey {
    return inTransaction(this.#database, () => {
      const key = this.#liveOrThrow(name);
      this.#database
        .prepare('UPDATE secrets SET expires_at_ms = min(ifnull(expires_at_ms, ?1), ?1) WHERE key_id = ?2')
        .run(othersExpireAtMs, key.id);
      this.#addSecret(key.id, secret);
      witness(key);
      return key;
    });
  }

  /** @throws {KeyStoreError} when there is no such key. */
  revoke(name: string, nowMs: number, witness: Witness): ApiKey {
    return inTransaction(this.#database, () => {
      const key = this.#liveOrThrow(name);
      this.#database.prepare('UPDATE keys SET revoked_at_ms = ? WHERE id = ?').run(nowMs, key.id);
      witness(key);
      return { ...key, revokedAtMs: nowMs };
    });
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #addSecret(keyId: string, { hash, createdAtMs, expiresAtMs }: KeySecret): void {
    this.#database
      .prepare('INSERT INTO secrets VALUES (?, ?, ?, ?)')
      .run(hash, keyId, createdAtMs, expiresAtMs ?? null);
  }

  #live(name: string): ApiKey | undefined {
    const row = this.#database.prepare('SELECT * FROM keys WHERE name = ? AND revoked_at_ms IS NULL').get(name);
    return row && keyOf(row);
  }

  #liveOrThrow(name: string): ApiKey {
    const key = this.#live(name);
    if (!key) throw new KeyStoreError(`there is no key named ${name}`);
    return key;
  }
}

function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    database.exec('COMMIT');
    return result;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

const jsonOrNull = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value));

function keyOf(row: Row): ApiKey {
  const { id, name, scopes, maxima, images, concurrent_max, revoked_at_ms } = row;
  return {
    id: String(id),
    name: String(name),
    scopes: JSON.parse(String(scopes)) as Scope[],
    ...(typeof maxima === 'string' ? { maxima: JSON.parse(maxima) as Partial<Limits> } : {}),
    ...(typeof images === 'string' ? { images: JSON.parse(images) as string[] } : {}),
    ...(typeof concurrent_max === 'number' ? { concurrentMax: concurrent_max } : {}),
    createdAtMs: Number(row['created_at_ms']),
    ...(typeof revoked_at_ms === 'number' ? { revokedAtMs: revoked_at_ms } : {}),
  };
}

function secretOf(row: Row): KeySecret {
  const { hash, created_at_ms, expires_at_ms } = row;
  return {
    hash: hash as Uint8Array,
    createdAtMs: Number(created_at_ms),
    ...(typeof expires_at_ms === 'number' ? { expiresAtMs: expires_at_ms } : {}),
  };
}

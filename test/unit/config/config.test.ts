/** Settings: what is taken, what is refused, what is shown. */
import { hostname } from 'node:os';
import { describe, expect, test } from 'vitest';
import { defaultStateDirectory } from '../../../src/config/settings/storage.ts';
import { ConfigError, describeConfig, parseConfig, SETTINGS, type SettingName } from '../../../src/config/config.ts';

const UNSUPPORTED = ['PYEXEC_CONSUL_ADDR', 'PYEXEC_CONSUL_TOKEN', 'PYEXEC_CONSUL_PREFIX'] as const;

/** Per setting: a value that is taken with what it means, and values that are refused. A setting without a row fails the test. */
const CASES: Readonly<Record<SettingName, { good: readonly [string, unknown]; bad: readonly string[] }>> = {
  PYEXEC_HOST: { good: ['0.0.0.0', '0.0.0.0'], bad: [''] },
  PYEXEC_PORT: { good: ['0', 0], bad: ['', '65536', '-1', '80a', '8080.5', ' 80', '0x50', '1e3'] },
  PYEXEC_LOG_LEVEL: { good: ['debug', 'debug'], bad: ['', 'verbose', 'INFO'] },
  PYEXEC_DOCKER_SOCKET: { good: ['/run/d.sock', '/run/d.sock'], bad: [''] },
  PYEXEC_INSTANCE: { good: ['blue-1', 'blue-1'], bad: ['', '-x', 'a b', 'a'.repeat(64), 'ä'] },
  PYEXEC_AUTH: { good: ['keys, jwt,proxy', ['keys', 'jwt', 'proxy']], bad: ['', 'basic', 'none,keys', 'Keys'] },
  PYEXEC_ALLOW_UNAUTHENTICATED: { good: ['true', true], bad: ['', 'TRUE', '2'] },
  PYEXEC_OPEN_ROUTES: { good: ['docs,metrics', ['docs', 'metrics']], bad: ['health', 'api'] },
  PYEXEC_JWT_JWKS_URL: {
    good: ['https://id.example/keys', 'https://id.example/keys'],
    bad: ['http://id.example/keys', 'ftp://x', 'keys', 'http://127.0.0.1.example/'],
  },
  PYEXEC_JWT_KEY_FILE: { good: ['/etc/key.pem', '/etc/key.pem'], bad: [] },
  PYEXEC_JWT_ISSUER: { good: ['https://id.example', 'https://id.example'], bad: [] },
  PYEXEC_JWT_AUDIENCE: { good: ['a,b', ['a', 'b']], bad: [] },
  PYEXEC_JWT_ALGORITHMS: { good: ['ES256', ['ES256']], bad: ['', 'none', 'HS256', 'RS256,HS256', 'rs256'] },
  PYEXEC_JWT_CLOCK_SKEW: { good: ['0', 0], bad: ['-1', '301'] },
  PYEXEC_JWT_CALLER_CLAIM: { good: ['email', 'email'], bad: [''] },
  PYEXEC_JWT_SCOPES_CLAIM: { good: ['groups', 'groups'], bad: [''] },
  PYEXEC_JWT_SCOPES: { good: ['ops=admin', ['ops=admin']], bad: ['', 'ops', 'ops=root', '=run'] },
  PYEXEC_PROXY_HEADER: {
    good: ['x-user', 'x-user'],
    bad: ['', 'X-User', 'x_user', 'authorization', 'x-forwarded-for'],
  },
  PYEXEC_PROXY_SCOPES: { good: ['run', ['run']], bad: ['', 'root'] },
  PYEXEC_RATE_CALLER: { good: ['60', 60], bad: ['', '-1', '1000001', 'off'] },
  PYEXEC_RATE_ADDRESS: { good: ['auto', 'auto'], bad: ['', '-1', '1000001'] },
  PYEXEC_RATE_FAILURES: { good: ['0', 0], bad: ['', '-1', '1000001'] },
  PYEXEC_AUDIT: { good: ['required', 'required'], bad: ['', 'yes', 'ON'] },
  PYEXEC_AUDIT_FILE_MB: { good: ['1', 1], bad: ['0', '4097'] },
  PYEXEC_AUDIT_FILE_DAYS: { good: ['1', 1], bad: ['0', '3651'] },
  PYEXEC_STATE_DIR: { good: ['/srv/state/../pyexec', '/srv/pyexec'], bad: [''] },
  PYEXEC_RUNTIME: { good: ['runsc', 'runsc'], bad: [''] },
  PYEXEC_SECCOMP_PROFILE: { good: ['/x.json', '/x.json'], bad: [''] },
  PYEXEC_DEFAULT_IMAGE: { good: ['pyexec/data:1', 'pyexec/data:1'], bad: [''] },
  PYEXEC_ALLOWED_IMAGES: { good: [' a/*, ,b:1 ', ['a/*', 'b:1']], bad: [] },
  PYEXEC_NETWORK_MODE: { good: ['bridge', 'bridge'], bad: ['', 'host', 'container:abc', 'container', '-x', 'a b'] },
  PYEXEC_DNS_SERVERS: { good: ['1.1.1.1', ['1.1.1.1']], bad: [] },
  PYEXEC_DEFAULT_TIMEOUT: { good: ['60', 60], bad: ['0', '86401', '-5', '5s'] },
  PYEXEC_MAX_TIMEOUT: { good: ['3600', 3600], bad: ['0', '86401', ''] },
  PYEXEC_DEFAULT_MEMORY_MB: { good: ['64', 64], bad: ['31', '1048577', 'lots'] },
  PYEXEC_MAX_MEMORY_MB: { good: ['8192', 8192], bad: ['31', '1048577'] },
  PYEXEC_DEFAULT_DISK_MB: { good: ['16', 16], bad: ['0', '1048577'] },
  PYEXEC_MAX_DISK_MB: { good: ['8192', 8192], bad: ['0', '1048577'] },
  PYEXEC_DEFAULT_CPU_SHARES: { good: ['512', 512], bad: ['1', '262145'] },
  PYEXEC_DEFAULT_CPUS: { good: ['0.5', 0.5], bad: ['0', '0.01', '257', '1,5', '.5', 'Infinity', 'NaN'] },
  PYEXEC_MAX_CPUS: { good: ['1.25', 1.25], bad: ['0', '257'] },
  PYEXEC_DEFAULT_PIDS: { good: ['64', 64], bad: ['7', '32769'] },
  PYEXEC_MAX_PIDS: { good: ['1024', 1024], bad: ['7', '32769'] },
  PYEXEC_DEFAULT_OUTPUT_BYTES: { good: ['1000', 1000], bad: ['0', '1073741825'] },
  PYEXEC_MAX_OUTPUT_BYTES: { good: ['1073741824', 2 ** 30], bad: ['0', '1073741825'] },
  PYEXEC_DEFAULT_OPEN_FILES: { good: ['64', 64], bad: ['15', '1048577'] },
  PYEXEC_MAX_OPEN_FILES: { good: ['2048', 2048], bad: ['15', '1048577'] },
  PYEXEC_MAX_STDIN_MB: { good: ['1', 1], bad: ['0', '257'] },
  PYEXEC_MAX_INPUTS: { good: ['1', 1], bad: ['0', '10001'] },
  PYEXEC_MAX_INPUTS_TIMEOUT: { good: ['1', 1], bad: ['0', '3601'] },
  PYEXEC_MAX_INPUTS_OUTPUT_MB: { good: ['1', 1], bad: ['0', '257'] },
  PYEXEC_MAX_UPLOAD_MB: { good: ['1', 1], bad: ['0', '4097'] },
  PYEXEC_MAX_PROJECT_MB: { good: ['1', 1], bad: ['0', '16385'] },
  PYEXEC_MAX_ENTRIES: { good: ['1', 1], bad: ['0', '1000001'] },
  PYEXEC_SPOOL_DIR: { good: ['/var/spool', '/var/spool'], bad: [''] },
  PYEXEC_UPLOAD_TIMEOUT: { good: ['1', 1], bad: ['0', '3601'] },
  PYEXEC_MAX_CONNECTIONS: { good: ['1', 1], bad: ['0', '1000001'] },
  PYEXEC_ANALYSIS: { good: ['block', 'block'], bad: ['', 'on', 'true', 'BLOCK'] },
  PYEXEC_ANALYSIS_BLOCKS_AT: { good: ['low', 'low'], bad: ['', 'critical', 'HIGH'] },
  PYEXEC_ANALYSIS_TIMEOUT: { good: ['600', 600], bad: ['1', '601', '1.5'] },
  PYEXEC_ANALYSIS_MAX_MB: { good: ['64', 64], bad: ['0', '65'] },
  PYEXEC_MAX_ANALYZERS: { good: ['2', 2], bad: ['0', '65'] },
  PYEXEC_PACKAGES: { good: ['allow-list', 'allow-list'], bad: ['', 'on', 'ANY'] },
  PYEXEC_PACKAGES_ALLOWED: { good: ['numpy, pandas', ['numpy', 'pandas']], bad: [] },
  PYEXEC_ADVISORIES_URL: {
    good: ['https://api.osv.dev', 'https://api.osv.dev'],
    bad: [
      'api.osv.dev',
      'ftp://a/',
      'file:///etc',
      'https://user:secret@a/',
      'https://a/?b',
      'https://a/#b',
      'https://',
    ],
  },
  PYEXEC_ADVISORIES: { good: ['block', 'block'], bad: ['', 'off', 'Block'] },
  PYEXEC_ADVISORIES_ACCEPTED: {
    good: ['CVE-2024-1, GHSA-a-b-c', ['CVE-2024-1', 'GHSA-a-b-c']],
    bad: ['CVE-*', 'a b', '-x', 'a'.repeat(101)],
  },
  PYEXEC_ADVISORIES_CREDENTIALS: { good: ['u:p:q', 'u:p:q'], bad: ['u', ':p', 'u:', 'u:p\n'] },
  PYEXEC_ADVISORIES_CA_FILE: { good: ['/a.pem', '/a.pem'], bad: [] },
  PYEXEC_ADVISORIES_PRIVATE: { good: ['true', true], bad: ['', 'on'] },
  PYEXEC_ADVISORIES_TIMEOUT: { good: ['1', 1], bad: ['0', '121'] },
  PYEXEC_ADVISORIES_REFRESH: { good: ['0', 0], bad: ['-1', '31536001'] },
  PYEXEC_ADVISORIES_MAX_AGE: { good: ['3600', 3600], bad: ['-1', '31536001'] },
  PYEXEC_INDEX_URL: {
    good: ['http://127.0.0.1:3141/root/+simple/', 'http://127.0.0.1:3141/root/+simple/'],
    bad: ['', 'pypi.org', 'ftp://a/', 'file:///etc', 'https://user:secret@a/', 'https://a/?b', 'https://a/#b'],
  },
  PYEXEC_INDEX_CREDENTIALS: { good: ['u:p:q', 'u:p:q'], bad: ['u', ':p', 'u:', 'u:p\n'] },
  PYEXEC_INDEX_CA_FILE: { good: ['/a.pem', '/a.pem'], bad: [] },
  PYEXEC_INDEX_HOSTS: { good: ['a.example, b.example:8443', ['a.example', 'b.example:8443']], bad: [] },
  PYEXEC_INDEX_PRIVATE: { good: ['true', true], bad: ['', 'on'] },
  PYEXEC_CONSTRAINTS_FILE: { good: ['/etc/constraints.txt', '/etc/constraints.txt'], bad: [] },
  PYEXEC_MAX_REQUIREMENTS: { good: ['1', 1], bad: ['0', '1001'] },
  PYEXEC_MAX_PACKAGES: { good: ['1', 1], bad: ['0', '2001'] },
  PYEXEC_LAYER_MAX_MB: { good: ['1', 1], bad: ['0', '16385'] },
  PYEXEC_LAYERS_MAX_MB: { good: ['1', 1], bad: ['0', '1048577'] },
  PYEXEC_INSTALL_TIMEOUT: { good: ['1', 1], bad: ['0', '3601'] },
  PYEXEC_LOCK_TTL: { good: ['0', 0], bad: ['-1', '31536001'] },
  PYEXEC_MAX_BUILDERS: { good: ['1', 1], bad: ['0', '65'] },
  PYEXEC_POOL_SIZE: { good: ['2-8', '2-8'], bad: ['-1', '2-', 'many'] },
  PYEXEC_POOL_PREIMPORTS: { good: ['a=numpy:2,b=c+d.e:1-3', ['a=numpy:2', 'b=c+d.e:1-3']], bad: [] },
  PYEXEC_DISPLAYS: { good: ['0', 0], bad: ['-1', '10001'] },
  PYEXEC_DISPLAY_MB: { good: ['1', 1], bad: ['0', '257'] },
  PYEXEC_ARTIFACT_FILES: { good: ['0', 0], bad: ['-1', '10001'] },
  PYEXEC_ARTIFACT_MB: { good: ['64', 64], bad: ['0', '4097'] },
  PYEXEC_ARTIFACT_INLINE_KB: { good: ['0', 0], bad: ['-1', '4097'] },
  PYEXEC_POOL_IMAGES: { good: ['a=1,b=2', ['a=1', 'b=2']], bad: [] },
  PYEXEC_POOL_LAYERS: { good: ['0', 0], bad: ['-1', '65'] },
  PYEXEC_POOL_LAYER_IDLE: { good: ['1', 1], bad: ['0', '86401'] },
  PYEXEC_POOL_MAX_AGE: { good: ['10', 10], bad: ['9', '86401'] },
  PYEXEC_MAX_CONCURRENT: { good: ['1', 1], bad: ['0', '1025'] },
  PYEXEC_MAX_QUEUE: { good: ['0', 0], bad: ['-1', '100001'] },
  PYEXEC_MAX_QUEUE_MB: { good: ['1', 1], bad: ['0', '1048577'] },
  PYEXEC_QUEUE_TIMEOUT: { good: ['30', 30], bad: ['-1', '86401', '1.5'] },
  PYEXEC_MAX_CONCURRENT_PER_CALLER: { good: ['0', 0], bad: ['-1', '1025'] },
  PYEXEC_MAX_QUEUE_PER_CALLER: { good: ['0', 0], bad: ['-1', '100001'] },
  PYEXEC_BUDGET_WINDOW: { good: ['60', 60], bad: ['0', '2678401'] },
  PYEXEC_BUDGET_CPU_SECONDS: { good: ['0', 0], bad: ['-1', '1000000000'] },
  PYEXEC_BUDGET_MEMORY_MIB_SECONDS: { good: ['0', 0], bad: ['-1', '1.5'] },
  PYEXEC_CLEANUP_TTL: { good: ['1', 1], bad: ['0', '31536001'] },
  PYEXEC_STORE_MAX_MB: { good: ['1', 1], bad: ['0', '1048577'] },
  PYEXEC_STORE_MAX_EXECUTIONS: { good: ['1', 1], bad: ['0', '100000001'] },
  PYEXEC_REAP_INTERVAL: { good: ['1', 1], bad: ['0', '3601'] },
  PYEXEC_SHUTDOWN_GRACE: { good: ['0', 0], bad: ['-1', '3601'] },
  PYEXEC_TRUST_PROXY: { good: ['10.0.0.0/8, ::1', ['10.0.0.0/8', '::1']], bad: [] },
  PYEXEC_WEBHOOK_SECRET: { good: ['0123456789abcdef', '0123456789abcdef'], bad: ['short'] },
  PYEXEC_WEBHOOK_ALLOW_HTTP: { good: ['true', true], bad: ['', 'on'] },
  PYEXEC_WEBHOOK_PORTS: { good: ['443,8443', [443, 8443]], bad: ['', 'https', '443-445'] },
  PYEXEC_WEBHOOK_ALLOWED_HOSTS: { good: ['10.0.0.0/8,ci.example', ['10.0.0.0/8', 'ci.example']], bad: [] },
  PYEXEC_WEBHOOK_CA_FILE: { good: ['/etc/ca.pem', '/etc/ca.pem'], bad: [] },
  PYEXEC_WEBHOOK_TIMEOUT: { good: ['1', 1], bad: ['0', '301'] },
  PYEXEC_WEBHOOK_ATTEMPTS: { good: ['1', 1], bad: ['0', '101'] },
  PYEXEC_WEBHOOK_RETRY: { good: ['1', 1], bad: ['0', '3601'] },
  PYEXEC_WEBHOOK_MAX_PENDING: { good: ['1', 1], bad: ['0', '1000001'] },
  PYEXEC_AUTO_DETECT_IMPORTS: { good: ['no', false], bad: ['', 'TRUE', 'on', '2', 'False'] },
  PYEXEC_PYTHON_IMAGES: { good: ['3.11=a/b', ['3.11=a/b']], bad: [] },
  PYEXEC_CONSUL_ADDR: { good: ['', undefined], bad: ['', 'consul:8500'] },
  PYEXEC_CONSUL_TOKEN: { good: ['', undefined], bad: ['', 'hunter2'] },
  PYEXEC_CONSUL_PREFIX: { good: ['', undefined], bad: ['', 'p'] },
};

function faultsOf(environment: Record<string, string>): string[] {
  try {
    parseConfig(environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  return [];
}

describe('defaults', () => {
  const config = parseConfig({});

  test('every setting that is supported has one that passes its own check', () => {
    const without = Object.keys(SETTINGS).filter((name) => config[name as SettingName] === undefined);
    expect(without).toEqual(UNSUPPORTED);
  });

  test('are safe: loopback, no network, our images only, the bundled seccomp profile', () => {
    expect(config.PYEXEC_HOST).toBe('127.0.0.1');
    expect(config.PYEXEC_NETWORK_MODE).toBe('none');
    expect(config.PYEXEC_ALLOWED_IMAGES).toEqual(['pyexec/slim', 'pyexec/data']);
    expect(config.PYEXEC_SECCOMP_PROFILE).toMatch(/\/seccomp\/python\.json$/);
    expect(config.PYEXEC_TRUST_PROXY).toEqual([]);
  });

  test('the instance is the host and the port', () => {
    expect(parseConfig({ PYEXEC_PORT: '9001' }).PYEXEC_INSTANCE).toBe(
      `${hostname()}-9001`.replaceAll(/[^A-Za-z0-9_.-]/g, '-').slice(-63),
    );
  });

  test('state is kept where the system keeps it, or below the user’s home', () => {
    const user = { isRoot: false, home: '/home/ada' };
    expect(defaultStateDirectory({}, { isRoot: true, home: '/root' })).toBe('/var/lib/pyexec');
    expect(defaultStateDirectory({}, user)).toBe('/home/ada/.local/state/pyexec');
    expect(defaultStateDirectory({ XDG_STATE_HOME: '/srv/ada' }, user)).toBe('/srv/ada/pyexec');
    expect(defaultStateDirectory({ XDG_STATE_HOME: 'srv' }, user)).toBe('/home/ada/.local/state/pyexec');
  });

  test('cannot be changed once parsed', () => {
    expect(Object.isFrozen(config)).toBe(true);
  });
});

describe.each(Object.entries(CASES))('%s', (name, { good, bad }) => {
  const [text, value] = good;

  if (value !== undefined) {
    test('takes a value', () => {
      expect(parseConfig({ [name]: text })[name as SettingName]).toEqual(value);
    });
  }

  test.each(bad)('refuses %j and says which setting it is', (value) => {
    const faults = faultsOf({ [name]: value });
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(new RegExp(`^${name} (is|must)`));
  });
});

test.each(['true', '1', 'yes'])('%s is true', (value) => {
  expect(parseConfig({ PYEXEC_AUTO_DETECT_IMPORTS: value }).PYEXEC_AUTO_DETECT_IMPORTS).toBe(true);
});

test.each(['false', '0', 'no'])('%s is false', (value) => {
  expect(parseConfig({ PYEXEC_AUTO_DETECT_IMPORTS: value }).PYEXEC_AUTO_DETECT_IMPORTS).toBe(false);
});

describe('names', () => {
  test('one with our prefix that is no setting is refused', () => {
    expect(faultsOf({ PYEXEC_TIMEOUT: '5' })).toEqual(['PYEXEC_TIMEOUT is not a setting of this service']);
  });

  test('inherited property names are not settings', () => {
    expect(faultsOf({ PYEXEC_: '1', 'PYEXEC_PORT ': '1' })).toHaveLength(2);
  });

  test('the client’s own variable and foreign variables are nobody’s business here', () => {
    expect(faultsOf({ PYEXEC_SERVER: 'http://x', PATH: '/bin', pyexec_port: '1' })).toEqual([]);
  });

  test('those python-executor has keep their meaning', () => {
    const config = parseConfig({
      PYEXEC_HOST: '0.0.0.0',
      PYEXEC_PORT: '9999',
      PYEXEC_DEFAULT_TIMEOUT: '60',
      PYEXEC_DEFAULT_MEMORY_MB: '512',
      PYEXEC_DEFAULT_DISK_MB: '1024',
      PYEXEC_DEFAULT_CPU_SHARES: '512',
      PYEXEC_DEFAULT_IMAGE: 'python:3.12-slim',
      PYEXEC_DOCKER_SOCKET: '/run/docker.sock',
      PYEXEC_NETWORK_MODE: 'bridge',
      PYEXEC_DNS_SERVERS: '1.1.1.1,9.9.9.9',
      PYEXEC_CLEANUP_TTL: '600',
      PYEXEC_LOG_LEVEL: 'warn',
      PYEXEC_AUTO_DETECT_IMPORTS: 'false',
    });
    expect(config.PYEXEC_DEFAULT_TIMEOUT).toBe(60);
    expect(config.PYEXEC_CLEANUP_TTL).toBe(600);
    expect(config.PYEXEC_DNS_SERVERS).toEqual(['1.1.1.1', '9.9.9.9']);
  });

  test.each(UNSUPPORTED)('%s says that it is not supported rather than doing nothing', (name) => {
    expect(faultsOf({ [name]: 'x' })).toEqual([`${name} is not supported: executions are kept by the service itself`]);
  });
});

describe('several settings together', () => {
  test.each([
    ['PYEXEC_DEFAULT_TIMEOUT', 'PYEXEC_MAX_TIMEOUT', '11', '10'],
    ['PYEXEC_DEFAULT_MEMORY_MB', 'PYEXEC_MAX_MEMORY_MB', '101', '100'],
    ['PYEXEC_DEFAULT_DISK_MB', 'PYEXEC_MAX_DISK_MB', '11', '10'],
    ['PYEXEC_DEFAULT_CPUS', 'PYEXEC_MAX_CPUS', '2.5', '2'],
    ['PYEXEC_DEFAULT_PIDS', 'PYEXEC_MAX_PIDS', '101', '100'],
    ['PYEXEC_DEFAULT_OUTPUT_BYTES', 'PYEXEC_MAX_OUTPUT_BYTES', '101', '100'],
    ['PYEXEC_DEFAULT_OPEN_FILES', 'PYEXEC_MAX_OPEN_FILES', '101', '100'],
  ])('%s must not be above %s', (lower, upper, above, ceiling) => {
    expect(faultsOf({ [lower]: above, [upper]: ceiling })).toEqual([
      `${lower} (${above}) must not be above ${upper} (${ceiling})`,
    ]);
    expect(faultsOf({ [lower]: ceiling, [upper]: ceiling })).toEqual([]);
  });

  test('every fault is named at once', () => {
    const faults = faultsOf({ PYEXEC_PORT: 'x', PYEXEC_NOPE: '1', PYEXEC_MAX_PIDS: '1' });
    expect(faults.map((fault) => fault.split(' ')[0]).toSorted()).toEqual([
      'PYEXEC_MAX_PIDS',
      'PYEXEC_NOPE',
      'PYEXEC_PORT',
    ]);
  });
});

describe('--check-config', () => {
  test('shows every effective value, one a line', () => {
    const shown = describeConfig(parseConfig({ PYEXEC_PORT: '1234', PYEXEC_ALLOWED_IMAGES: 'a, b' })).split('\n');
    expect(shown).toContain('PYEXEC_PORT=1234');
    expect(shown).toContain('PYEXEC_ALLOWED_IMAGES=a,b');
    const supported = Object.keys(SETTINGS).filter((name) => !UNSUPPORTED.some((other) => other === name));
    expect(shown.map((line) => line.slice(0, line.indexOf('=')))).toEqual(supported);
  });

  test('what it shows is what it was given: parsed again it means the same', () => {
    const config = parseConfig({ PYEXEC_PORT: '1234', PYEXEC_MAX_CPUS: '3.5', PYEXEC_AUTO_DETECT_IMPORTS: 'no' });
    const again = parseConfig(
      Object.fromEntries(
        describeConfig(config)
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
      ),
    );
    expect(again).toEqual(config);
  });

  test('never shows a secret', () => {
    const config = { ...parseConfig({}), PYEXEC_CONSUL_TOKEN: 'hunter2' as never };
    expect(describeConfig(config)).not.toContain('hunter2');
    expect(describeConfig(config)).toContain('PYEXEC_CONSUL_TOKEN=[redacted]');
  });

  test('a fault never repeats a secret', () => {
    expect(faultsOf({ PYEXEC_CONSUL_TOKEN: 'hunter2' }).join()).not.toContain('hunter2');
  });
});

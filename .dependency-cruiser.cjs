/**
 * Who may import whom. docs/ARCHITECTURE.md explains the folders; this file is
 * what holds them to it, type-only imports included.
 */

const STAGES = 'identity|audit|archive|policy|analysis|admission|sandbox|output|store|dependencies|egress|webhooks';

/**
 * `folder` imports from src only itself and what `allowed` names.
 * @param {string} folder a folder of src, or several as a|b
 * @param {string} allowed folders of src, as a|b
 * @param {string} why
 */
const wall = (folder, allowed, why) => ({
  name: `${folder.includes('|') ? 'stage' : folder}-wall`,
  comment: why,
  severity: 'error',
  from: { path: `^src/(${folder})/` },
  to: { path: '^src/', pathNot: `^src/(${allowed ? `${allowed}|` : ''}$1)/` },
});

/**
 * A package is used in one place, so that there is one place to replace it.
 * @param {string} name
 * @param {string} packages regular expression over resolved paths
 * @param {string} places regular expression over source paths
 */
const fence = (name, packages, places) => ({
  name: `${name}-fence`,
  comment: `${name} stays behind its fence: ${places}`,
  severity: 'error',
  from: { path: '^src/', pathNot: places },
  to: { path: packages },
});

/** @param {string} names package names, as a|b */
const npm = (names) => `(^|/)node_modules/(@types/)?(${names})(/|$)`;

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    wall('domain', '', 'The words every stage shares import nothing of ours.'),
    wall('config', 'domain', 'Configuration is values; it knows no stage.'),
    wall(STAGES, 'domain', 'A stage imports the domain and itself; only execution puts stages together.'),
    wall('telemetry', 'domain', 'Stages emit; telemetry listens through the composition root.'),
    wall('execution', `domain|${STAGES}`, 'The story calls the stages and does not know who asked.'),
    wall('http', 'domain|config|execution|store|output', 'A door calls execution, and reads and frames what it left.'),
    wall(
      'doors',
      'domain|config|execution|store|output|http|dependencies',
      'A door is built on http and calls execution.',
    ),
    wall('client', 'domain', 'The client is published on its own.'),
    wall(
      'cli',
      'domain|config|client|identity|audit|store',
      'The command line is for the operator: keys, and the client.',
    ),
    {
      name: 'doors-take-config-as-types',
      comment: 'Values of the configuration are handed to a door; it imports their types only.',
      severity: 'error',
      from: { path: '^src/(http|doors)/' },
      to: { path: '^src/config/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'composition-root-is-the-top',
      comment:
        'Nothing in src imports app.ts, engine.ts, composition or main.ts, except main.ts, which builds the app, and these themselves.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/((main|app|engine)\\.ts$|composition/)' },
      to: { path: '^src/((app|engine|main)\\.ts$|composition/)' },
    },

    fence(
      'fastify',
      npm('fastify|@fastify|fastify-plugin|fastify-type-provider-zod'),
      '^src/(http/|doors/|app\\.ts$|main\\.ts$)',
    ),
    fence('dockerode', npm('dockerode|docker-modem'), '^src/sandbox/'),
    fence('tar-stream', npm('tar-stream'), '^src/archive/'),
    fence('jose', npm('jose'), '^src/identity/'),
    fence('commander', npm('commander'), '^src/cli/'),
    fence('sqlite', '^(node:)?sqlite$', '^src/store/'),
    fence('pino-prom-client', npm('pino|prom-client'), '^src/telemetry/'),

    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-orphans',
      severity: 'error',
      from: { orphan: true, pathNot: ['\\.test\\.ts$', '^src/(main|cli/main)\\.ts$'] },
      to: {},
    },
    {
      name: 'used-by-the-product',
      comment: 'A module that only tests reach is dead code with an alibi.',
      severity: 'error',
      from: { path: '^src/(main|cli/main|client/index)\\.ts$' },
      to: { path: '^src/', pathNot: '^src/(main|cli/main)\\.ts$', reachable: false },
    },
    {
      name: 'no-test-in-src',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|bench|chaos|scripts)/' },
    },
    {
      name: 'no-dev-dependency-in-src',
      severity: 'error',
      from: { path: '^src/' },
      // The types of a package that ships none come from @types, and are gone when it runs.
      to: { dependencyTypes: ['npm-dev'], pathNot: 'node_modules/@types/' },
    },
    {
      name: 'no-undeclared-package',
      severity: 'error',
      from: {},
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.mjs', '.js', '.json'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};

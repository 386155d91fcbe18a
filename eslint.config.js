/**
 * Lint rules: what types and formatting cannot see.
 *
 * Each rule is here for a fault it prevents in this service; taste is prettier's
 * business. Boundaries between folders are in .dependency-cruiser.cjs.
 */

import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const EVERYTHING = ['**/*.ts', '**/*.js', '**/*.mjs', '**/*.cjs'];
const TYPED = ['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'images/**/*.ts', 'chaos/**/*.ts'];

const PROCESS_ENV = { object: 'process', property: 'env', message: 'Only src/config reads the environment.' };
const PROCESS_EXIT = {
  object: 'process',
  property: 'exit',
  message: 'Only src/main.ts and src/cli end the process; throw, or return an outcome.',
};
// Both rules above would be blind to the same thing imported by name.
const NO_PROCESS_MODULE = {
  paths: ['node:process', 'process'].map((name) => ({ name, message: 'Use the global `process`; lint watches it.' })),
};

export default defineConfig(
  { ignores: ['node_modules/', 'dist/', '.cache/', 'examples/'] },
  { files: EVERYTHING, linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: EVERYTHING,
    plugins: { '@typescript-eslint': tseslint.plugin },
    languageOptions: { parser: tseslint.parser },
    rules: {
      eqeqeq: 'error',
      'no-debugger': 'error',
      'no-eval': 'error',
      'no-fallthrough': 'error',
      'no-unsafe-finally': 'error',
      'prefer-const': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    files: TYPED,
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Promises: a lost rejection is a run whose container nobody removes.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/return-await': ['error', 'in-try-catch'],
      '@typescript-eslint/prefer-promise-reject-errors': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/use-unknown-in-catch-callback-variable': 'error',

      // Unions: a new outcome or event must be met everywhere; a default case would hide the gap.
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: false, requireDefaultForNonUnion: true },
      ],

      // Types: what comes from outside is parsed, not asserted.
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unsafe-argument': 'error',
      '@typescript-eslint/no-unsafe-assignment': 'error',
      '@typescript-eslint/no-unsafe-call': 'error',
      '@typescript-eslint/no-unsafe-member-access': 'error',
      '@typescript-eslint/no-unsafe-return': 'error',
      '@typescript-eslint/no-unnecessary-type-assertion': 'error',
      '@typescript-eslint/ban-ts-comment': ['error', { 'ts-expect-error': 'allow-with-description' }],
      '@typescript-eslint/no-deprecated': 'error',
      '@typescript-eslint/no-base-to-string': 'error',

      // Modules.
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      '@typescript-eslint/consistent-type-exports': 'error',
      'no-restricted-syntax': ['error', { selector: 'ExportDefaultDeclaration', message: 'Named exports only.' }],
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-imports': ['error', NO_PROCESS_MODULE],
      'no-restricted-properties': ['error', PROCESS_ENV, PROCESS_EXIT],
      '@typescript-eslint/no-non-null-assertion': 'error',
    },
  },
  { files: ['src/config/**/*.ts'], rules: { 'no-restricted-properties': ['error', PROCESS_EXIT] } },
  { files: ['src/main.ts'], rules: { 'no-restricted-properties': ['error', PROCESS_ENV] } },
  { files: ['src/cli/**/*.ts'], rules: { 'no-console': 'off', 'no-restricted-properties': ['error', PROCESS_ENV] } },
);

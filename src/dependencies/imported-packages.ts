/**
 * Which packages of the index a program's imports mean. Pure.
 *
 * The code is parsed, not searched: strings and comments cannot import anything,
 * and every form of import counts wherever it stands. Modules of the standard
 * library and modules the project brings itself are never taken for packages.
 */
import type { SyntaxNode, Tree } from '@lezer/common';
import { parser } from '@lezer/python';
import { STANDARD_MODULES } from './standard-modules.ts';

/** Import names that are not what their package is called. */
const PACKAGE_OF: Readonly<Record<string, string>> = {
  attr: 'attrs',
  avro: 'avro-python3',
  bs4: 'beautifulsoup4',
  cerberus: 'Cerberus',
  cv2: 'opencv-python',
  dateutil: 'python-dateutil',
  decouple: 'python-decouple',
  django: 'Django',
  dotenv: 'python-dotenv',
  environ: 'environ-config',
  faker: 'Faker',
  fiona: 'Fiona',
  flask: 'Flask',
  google: 'google-cloud',
  grpc: 'grpcio',
  igraph: 'python-igraph',
  IPython: 'ipython',
  jinja2: 'Jinja2',
  jwt: 'PyJWT',
  mako: 'Mako',
  more_itertools: 'more-itertools',
  nacl: 'PyNaCl',
  np: 'numpy',
  pd: 'pandas',
  PIL: 'Pillow',
  plt: 'matplotlib',
  psycopg2: 'psycopg2-binary',
  pygments: 'Pygments',
  pymysql: 'PyMySQL',
  sentry_sdk: 'sentry-sdk',
  skimage: 'scikit-image',
  sklearn: 'scikit-learn',
  sns: 'seaborn',
  sqlalchemy: 'SQLAlchemy',
  strawberry: 'strawberry-graphql',
  tf: 'tensorflow',
  unidecode: 'Unidecode',
  yaml: 'PyYAML',
};

/** What the index calls the package that provides an import name. */
export function packageOf(module: string): string {
  return Object.hasOwn(PACKAGE_OF, module) ? (PACKAGE_OF[module] ?? module) : module;
}

/** The search is a courtesy: code that is made to be hard to parse is not worth more of everybody's time. */
const PARSE_MS_MAX = 150;

function treeOf(code: string): Tree | undefined {
  const parse = parser.startParse(code);
  const giveUp = performance.now() + PARSE_MS_MAX;
  while (performance.now() < giveUp) {
    const tree = parse.advance();
    if (tree) return tree;
  }
  return undefined;
}

/** Top-level names that the code imports absolutely, in the order they first appear. */
export function importedModules(source: string): readonly string[] {
  const names = new Set<string>();
  // To Python neither of these is part of the text.
  const code = source.replace(/^\uFEFF/, '').replaceAll(/\\\r?\n/g, ' ');
  treeOf(code)?.iterate({
    enter: ({ name, node }) => {
      if (name !== 'ImportStatement') return;
      for (const module of modulesOf(node, code)) names.add(module);
    },
  });
  return [...names];
}

/** The modules of `import a.b as c, d` (a and d) or `from x.y import z` (x); none of a relative import. */
function* modulesOf(statement: SyntaxNode, code: string): Generator<string> {
  const textOf = (node: SyntaxNode) => code.slice(node.from, node.to);
  const first = statement.firstChild;
  if (!first) return;
  const isFrom = first.name === 'from';
  if (isFrom && /^from\s*\./.test(textOf(statement))) return;
  let expectsModule = true;
  for (let node = first.nextSibling; node; node = node.nextSibling) {
    switch (node.name) {
      case 'VariableName':
        if (!expectsModule) break;
        yield textOf(node);
        if (isFrom) return;
        expectsModule = false;
        break;
      case ',':
        expectsModule = true;
        break;
      default:
        break;
    }
  }
}

/** What the index can have a package called; an import of another name means something else. */
const INDEX_NAME = /^[A-Za-z][A-Za-z0-9_]*$/;

/** Every name under which the project's own modules can be imported: files and folders, wherever they are. */
function modulesOfProject(paths: Iterable<string>): ReadonlySet<string> {
  const names = new Set<string>();
  for (const path of paths) {
    const parts = path.split('/').filter((part) => part !== '' && part !== '.');
    const file = parts.pop() ?? '';
    if (!/\.(?:pyi?|pyc|so|pyd)$/.test(file)) continue;
    names.add(file.slice(0, file.indexOf('.')));
    // The folder of a script is on the import path as well, so any of these may be the top.
    for (const folder of parts) names.add(folder);
  }
  return names;
}

/**
 * The packages a project needs beside the standard library and itself, sorted.
 * @param files the project's files, by path; only `.py` files are read.
 */
export function neededPackages(files: ReadonlyMap<string, string>): readonly string[] {
  const ownModules = modulesOfProject(files.keys());
  const packages = new Set<string>();
  for (const [path, code] of files) {
    if (!path.endsWith('.py')) continue;
    for (const module of importedModules(code)) {
      const isElsewhere = STANDARD_MODULES.has(module) || ownModules.has(module);
      if (!isElsewhere && INDEX_NAME.test(module)) packages.add(packageOf(module));
    }
  }
  return [...packages].sort((a, b) => (a < b ? -1 : 1));
}

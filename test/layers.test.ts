import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join, posix } from 'node:path';
import { describe, expect, test } from 'vitest';

// Imports point only downward. Which layer a file is in follows from its path; a file in no layer is an error, so a new
// folder has to be placed here before it can be used.

type Layer = 'leaf' | 'contract' | 'engine' | 'protocol' | 'http' | 'client' | 'files' | 'store' | 'top';

const layers: readonly (readonly [Layer, RegExp])[] = [
  ['leaf', /^src\/(errors|format-bytes|intervals|lifecycle|owner|place-file|headers\/[^/]+)\.ts$/],
  ['contract', /^src\/store\.ts$/],
  ['engine', /^src\/engine(\/.+)?\.ts$/],
  ['protocol', /^src\/(protocol\/.+|download\/plan)\.ts$/],
  ['http', /^src\/(http|download)(\/.+)?\.ts$/],
  ['client', /^src\/client\/.+\.ts$/],
  ['top', /^src\/(index|server|cli|cli\/.+|page\/.+|adapters\/.+)\.ts$/],
  ['files', /^stores\/files\/.+\.ts$/],
  ['store', /^stores\/.+\.(ts|js)$/],
];

/** The layers each may import from, itself included where its files may import each other. */
const below: Readonly<Record<Layer, readonly Layer[]>> = {
  leaf: ['leaf'],
  contract: ['leaf'],
  engine: ['leaf', 'contract', 'engine'],
  protocol: ['leaf', 'protocol'],
  http: ['leaf', 'contract', 'engine', 'protocol', 'http'],
  client: ['leaf', 'protocol', 'client'],
  top: ['leaf', 'contract', 'engine', 'protocol', 'http', 'client', 'store', 'top'],
  files: ['leaf', 'contract', 'files'], // what stores that keep content in files share
  store: ['leaf', 'contract', 'files'], // and its own folder
};

/** The one package a store may need, which its user installs. */
const peers: Readonly<Record<string, string>> = { sqlite: 'better-sqlite3', s3: '@aws-sdk/client-s3' };

/** What an installation may leave out, and the one file that does without it then. */
const optional: Readonly<Record<string, string>> = { 'src/cli/bar.ts': 'cli-progress' };

const builtins = new Set(builtinModules.map((name) => `node:${name}`));

/** Whether a layer may use a builtin. A dialect does no I/O, and the engine knows no HTTP. */
const mayUse = (layer: Layer, name: string): boolean => {
  if (layer === 'protocol') return name === 'node:crypto';
  if (layer === 'engine') return !/^node:(_?http|https|http2|net|tls)/.test(name);
  return true;
};

const maxLines = 450;

const layerOf = (path: string): Layer | undefined => layers.find(([, pattern]) => pattern.test(path))?.[0];

/** `fs` for `stores/fs.ts` and everything in `stores/fs/`. */
const storeName = (path: string): string => /^stores\/([^/]+?)(\.ts|\/.+)$/.exec(path)?.[1] ?? '';

const ownFolder = (from: string, to: string): boolean => to.startsWith(`stores/${storeName(from)}/`);

/** Comments go; strings stay. One pass, because either may look like the other inside. */
const withoutComments = (source: string): string =>
  source.replace(
    /('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`)|\/\/[^\n]*|\/\*[\s\S]*?\*\//g,
    (match, text?: string) => text ?? (match.includes('\n') ? '\n' : ' '),
  );

const computed = '(computed)';

/** Every module a source names: static, type-only, re-exported, dynamic, as a type, by `require`. */
const importsOf = (source: string): string[] => {
  const code = withoutComments(source);
  const found: string[] = [];
  for (const [, , name] of code.matchAll(
    /^[ \t]*(?:import|export)\b(?:[^'"`;]*?\bfrom)?\s*(['"])([^'"\n]+)\1/gm,
  )) {
    found.push(name ?? computed);
  }
  for (const [, , name] of code.matchAll(/(?<![.#$\w])import\s*\(\s*(?:(['"])([^'"\n]+)\1\s*[,)])?/g)) {
    found.push(name ?? computed);
  }
  for (const [, , name] of code.matchAll(/(?<![.#$\w])require\s*\(\s*(['"])([^'"\n]+)\1/g)) {
    found.push(name ?? computed);
  }
  return found;
};

/** What is wrong with one import; undefined when nothing is. */
const judge = (files: ReadonlyMap<string, string>, from: string, layer: Layer, name: string) => {
  if (builtins.has(name)) return mayUse(layer, name) ? undefined : `${layer} may not use it`;
  if (layer === 'store' && peers[storeName(from)] === name) return undefined;
  if (optional[from] === name) return undefined;
  if (!name.startsWith('./') && !name.startsWith('../')) return 'neither a node: builtin nor a relative path';
  const to = posix.join(posix.dirname(from), name);
  if (!files.has(to)) return 'no such file';
  const target = layerOf(to);
  if (target === undefined) return undefined; // said about that file itself
  if (layer === 'store' && target === 'store') {
    return ownFolder(from, to) ? undefined : 'a store imports no other store';
  }
  return below[layer].includes(target) ? undefined : `${layer} may not import from ${target}`;
};

/** Every violation in a set of sources, by path. */
const violations = (files: ReadonlyMap<string, string>): string[] => {
  const out: string[] = [];
  for (const [from, source] of files) {
    const layer = layerOf(from);
    if (layer === undefined) {
      out.push(`${from}: is in no layer`);
      continue;
    }
    const lines = source.replace(/\n$/, '').split('\n').length;
    if (lines > maxLines) out.push(`${from}: ${lines} lines, more than ${maxLines}`);
    for (const name of importsOf(source)) {
      const wrong = judge(files, from, layer, name);
      if (wrong !== undefined) out.push(`${from}: ${name}: ${wrong}`);
    }
  }
  return out;
};

const root = new URL('..', import.meta.url).pathname;
const readSources = (): Map<string, string> => {
  const files = new Map<string, string>();
  for (const folder of ['src', 'stores']) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.(ts|js)$/.test(entry.name)) continue;
      const path = join(entry.parentPath, entry.name);
      files.set(path.slice(root.length).replaceAll('\\', '/'), readFileSync(path, 'utf8'));
    }
  }
  return files;
};

describe('the sources', () => {
  const files = readSources();

  test('import only downward, only what exists, only builtins besides, and none is longer than 450 lines', () => {
    expect(violations(files)).toEqual([]);
  });

  test('are all there: every layer has files, and the imports in them were found', () => {
    const present = new Set([...files.keys()].map(layerOf));
    expect([...present].sort()).toEqual([
      'client',
      'contract',
      'engine',
      'files',
      'http',
      'leaf',
      'protocol',
      'store',
      'top',
    ]);
    expect(importsOf(files.get('stores/fs/journal.ts') ?? '')).toEqual([
      'node:zlib',
      '../../src/intervals.ts',
    ]);
    expect(importsOf(files.get('src/protocol/identity.ts') ?? '')).toEqual(['node:crypto', './dialect.ts']);
    // Every file but a leaf or two needs something.
    const silent = [...files].filter(([, source]) => importsOf(source).length === 0).map(([path]) => path);
    for (const path of silent) {
      expect(files.get(path)).not.toMatch(/^(import|export\s+(type\s+)?[{*][^;]*\bfrom)\b/m);
    }
  });
});

describe('the checker finds imports', () => {
  test.each<[string, string[]]>([
    ["import { a } from './a.ts';", ['./a.ts']],
    ["import type { A } from './a.ts';", ['./a.ts']],
    ["import a, { type B } from './a.ts';", ['./a.ts']],
    ["import * as a from './a.ts';", ['./a.ts']],
    ["import {\n  a,\n  b,\n} from './a.ts';", ['./a.ts']],
    ['import "./a.ts"', ['./a.ts']],
    ["export { a } from './a.ts';", ['./a.ts']],
    ["export {\n  a,\n  type B,\n} from './a.ts';", ['./a.ts']],
    ["export * from './a.ts';\nexport * as b from './b.ts';", ['./a.ts', './b.ts']],
    ["export type { A } from './a.ts';", ['./a.ts']],
    ["const a = await import('./a.ts');", ['./a.ts']],
    ["const a = import(\n  './a.ts'\n);", ['./a.ts']],
    ["type A = import('./a.ts').A;", ['./a.ts']],
    ["const a = require('./a.ts');", ['./a.ts']],
    ['const a = import(name);', [computed]],
    ["const a = import('./a' + name);", [computed]],
    [`const a = import(\`./\${name}.ts\`);`, [computed]],
    ["import { a } from './a.ts'; // from './b.ts'", ['./a.ts']],
    ["/* why */ import { a } from './a.ts';", ['./a.ts']],
    ["// bytes */*\nimport { a } from './a.ts'; /* */", ['./a.ts']],
    ["const url = 'http://x/*';\nimport { a } from './a.ts';", ['./a.ts']],
  ])('in %j', (source, expected) => {
    expect(importsOf(source)).toEqual(expected);
  });

  test.each([
    "// import { a } from './a.ts';",
    "/*\nimport { a } from './a.ts';\n*/",
    "/** See `import('./a.ts')`. */",
    'const here = import.meta.url;',
    "export const a = Array.from('./a.ts');",
    "export const a = 'a';",
    "export type A = { from: './a.ts' };",
    'class A {\n  require(id: string): void {}\n}',
    "this.#require('./a.ts'); it.import('./a.ts'); reimport('./a.ts');",
  ])('and none in %j', (source) => {
    expect(importsOf(source)).toEqual([]);
  });
});

describe('the checker catches a violation', () => {
  /** A file of each kind that imports nothing; and those of the case. */
  const graph = (changed: Readonly<Record<string, string>>): Map<string, string> => {
    const paths = [
      'src/errors.ts',
      'src/intervals.ts',
      'src/headers/range.ts',
      'src/store.ts',
      'src/engine.ts',
      'src/engine/lease.ts',
      'src/protocol/gears.ts',
      'src/http.ts',
      'src/http/body.ts',
      'src/client/index.ts',
      'src/index.ts',
      'src/cli.ts',
      'src/adapters/koa.ts',
      'stores/files/io.ts',
      'stores/fs.ts',
      'stores/fs/journal.ts',
      'stores/memory.ts',
      'stores/sqlite.ts',
    ];
    return new Map([...paths.map((path): [string, string] => [path, '']), ...Object.entries(changed)]);
  };
  const importing = (name: string): string => `import { it } from '${name}';\n`;

  test('none among files that import nothing', () => {
    expect(violations(graph({}))).toEqual([]);
  });

  test.each([
    ['src/headers/range.ts', '../errors.ts'],
    ['src/store.ts', './intervals.ts'],
    ['src/store.ts', 'node:stream'],
    ['src/engine.ts', './engine/lease.ts'],
    ['src/engine/lease.ts', '../engine.ts'],
    ['src/engine/lease.ts', '../store.ts'],
    ['src/protocol/gears.ts', '../headers/range.ts'],
    ['src/protocol/gears.ts', 'node:crypto'],
    ['src/http/body.ts', '../engine/lease.ts'],
    ['src/http/body.ts', 'node:http'],
    ['src/http.ts', './protocol/gears.ts'],
    ['src/index.ts', './http.ts'],
    ['src/adapters/koa.ts', '../http.ts'],
    ['src/cli.ts', '../stores/fs.ts'],
    ['src/client/index.ts', '../protocol/gears.ts'],
    ['src/client/index.ts', 'node:http'],
    ['stores/fs.ts', './fs/journal.ts'],
    ['stores/fs.ts', './files/io.ts'],
    ['stores/fs/journal.ts', '../../src/store.ts'],
    ['stores/fs/journal.ts', '../files/io.ts'],
    ['stores/files/io.ts', '../../src/store.ts'],
    ['stores/sqlite.ts', 'better-sqlite3'],
    ['stores/sqlite/index.ts', 'better-sqlite3'],
    ['stores/memory.ts', '../src/intervals.ts'],
  ])('not in %s -> %s, which points downward', (from, name) => {
    expect(violations(graph({ [from]: importing(name) }))).toEqual([]);
  });

  test.each([
    ['src/errors.ts', './store.ts'],
    ['src/headers/range.ts', '../protocol/gears.ts'],
    ['src/headers/range.ts', '../engine.ts'],
    ['src/store.ts', './engine.ts'],
    ['src/store.ts', '../stores/fs.ts'],
    ['src/engine.ts', './protocol/gears.ts'],
    ['src/engine.ts', './http.ts'],
    ['src/engine/lease.ts', '../http/body.ts'],
    ['src/engine.ts', '../stores/memory.ts'],
    ['src/engine.ts', 'node:http'],
    ['src/engine/lease.ts', 'node:https'],
    ['src/engine/lease.ts', 'node:http2'],
    ['src/protocol/gears.ts', '../engine.ts'],
    ['src/protocol/gears.ts', '../engine/lease.ts'],
    ['src/protocol/gears.ts', '../store.ts'],
    ['src/protocol/gears.ts', '../http.ts'],
    ['src/protocol/gears.ts', 'node:fs'],
    ['src/protocol/gears.ts', 'node:fs/promises'],
    ['src/protocol/gears.ts', 'node:net'],
    ['src/protocol/gears.ts', 'node:http'],
    ['src/protocol/gears.ts', 'node:stream'],
    ['src/protocol/gears.ts', 'node:stream/promises'],
    ['src/http/body.ts', '../index.ts'],
    ['src/http.ts', './cli.ts'],
    ['src/http.ts', './client/index.ts'],
    ['src/http.ts', '../stores/fs.ts'],
    ['src/client/index.ts', '../engine.ts'],
    ['src/client/index.ts', '../engine/lease.ts'],
    ['src/client/index.ts', '../store.ts'],
    ['src/client/index.ts', '../http.ts'],
    ['src/client/index.ts', '../../stores/memory.ts'],
    ['stores/fs.ts', '../src/engine.ts'],
    ['stores/fs.ts', '../src/protocol/gears.ts'],
    ['stores/fs.ts', '../src/http.ts'],
    ['stores/fs.ts', '../src/index.ts'],
    ['stores/fs.ts', './memory.ts'],
    ['stores/memory.ts', './fs.ts'],
    ['stores/memory.ts', './fs/journal.ts'],
    ['stores/fs/journal.ts', '../fs.ts'],
    ['stores/fs/journal.ts', '../../src/engine/lease.ts'],
    ['stores/files/io.ts', '../fs.ts'],
    ['stores/files/io.ts', '../fs/journal.ts'],
    ['stores/files/io.ts', '../../src/engine.ts'],
    ['stores/files/io.ts', 'better-sqlite3'],
    ['stores/sqlite.ts', '@aws-sdk/client-s3'],
    // Packages, builtins without their prefix, and paths that lead nowhere or out.
    ['src/http.ts', 'express'],
    ['src/index.ts', 'fs'],
    ['stores/fs.ts', 'better-sqlite3'],
    ['src/index.ts', '@scope/package/file.ts'],
    ['src/index.ts', './nothing.ts'],
    ['src/index.ts', './http.js'],
    ['src/index.ts', '../bench/run.ts'],
    ['src/index.ts', '/elsewhere/file.ts'],
  ])('in %s -> %s', (from, name) => {
    const found = violations(graph({ [from]: importing(name) }));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`${from}: ${name}: `);
  });

  test('however the import is written', () => {
    for (const source of [
      "import type { Engine } from '../engine.ts';",
      "export { Engine } from '../engine.ts';",
      "export * from '../engine.ts';",
      "import '../engine.ts';",
      "const it = await import('../engine.ts');",
      "type It = import('../engine.ts').Engine;",
    ]) {
      expect(violations(graph({ 'src/protocol/gears.ts': source }))).toEqual([
        'src/protocol/gears.ts: ../engine.ts: protocol may not import from engine',
      ]);
    }
    expect(violations(graph({ 'src/protocol/gears.ts': 'await import(name);' }))).toHaveLength(1);
  });

  test('in a file that is in no layer', () => {
    expect(violations(graph({ 'src/utils.ts': '' }))).toEqual(['src/utils.ts: is in no layer']);
    expect(violations(graph({ 'src/helpers/text.ts': '' }))).toHaveLength(1);
  });

  test('in a file of 451 lines, and not in one of 450', () => {
    expect(violations(graph({ 'src/http.ts': '\n'.repeat(450) }))).toEqual([]);
    expect(violations(graph({ 'src/http.ts': '\n'.repeat(451) }))).toEqual([
      'src/http.ts: 451 lines, more than 450',
    ]);
  });
});

import { readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');

/** What each file that `entry` leads to imports at run time. */
const graph = (entry: string): Map<string, string[]> => {
  const files = new Map<string, string[]>();
  const visit = (path: string): void => {
    if (files.has(path)) return;
    const source = readFileSync(join(root, path), 'utf8');
    const statements = source.matchAll(/^(?:import|export)\b(?!\s+type\b)[^'";]*?\bfrom\s+'([^']+)'/gm);
    const names = [...statements].map(([, name = '']) => name);
    const dynamic = [...source.matchAll(/\bimport\(\s*'([^']+)'\s*\)(?!\.)/g)].map(([, name = '']) => name);
    files.set(path, [...names, ...dynamic]);
    for (const name of files.get(path) ?? []) {
      if (name.startsWith('.')) visit(posix.join(posix.dirname(path), name));
    }
  };
  visit(entry);
  return files;
};

test('what a browser loads imports nothing that only Node has', () => {
  const files = graph('src/client/browser.ts');
  expect([...files.keys()]).toContain('src/client/run.ts');
  const outside = [...files].flatMap(([path, names]) =>
    names.filter((name) => !name.startsWith('.')).map((name) => `${path}: ${name}`),
  );
  expect(outside).toEqual([]);
  for (const path of files.keys()) {
    const code = readFileSync(join(root, path), 'utf8').replace(/\/\/.*|\/\*[\s\S]*?\*\//g, '');
    expect(code, path).not.toMatch(/\b(Buffer|process|NodeJS)\b/);
  }
});

test('the walk sees what Node’s own entry imports', () => {
  const files = graph('src/client/index.ts');
  expect([...files.values()].flat().filter((name) => name.startsWith('node:'))).toContain('node:http');
});

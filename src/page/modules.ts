import { readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

/** Where the package is built: here, or beside the sources that this runs from. */
export const builtModules = (): string =>
  import.meta.filename.endsWith('.ts')
    ? join(import.meta.dirname, '../../dist/src')
    : join(import.meta.dirname, '..');

const statement = /^(?:import\s+|(?:import|export)\b[^'";]*?\bfrom\s+)'([^']+)'/gm;

/** `entry` and all that it imports, by its path in `folder`. Throws for what is not in it. */
export const readModules = (folder: string, entry: string): Map<string, string> => {
  const modules = new Map<string, string>();
  const visit = (path: string): void => {
    if (modules.has(path)) return;
    if (path.startsWith('../') || !path.endsWith('.js')) throw new Error(`the page cannot load ${path}`);
    const source = readFileSync(join(folder, path), 'utf8');
    modules.set(path, source);
    for (const [, name = ''] of source.matchAll(statement)) {
      if (!name.startsWith('.')) throw new Error(`the page cannot load ${name}, which ${path} imports`);
      visit(posix.join(posix.dirname(path), name));
    }
  };
  visit(entry);
  return modules;
};

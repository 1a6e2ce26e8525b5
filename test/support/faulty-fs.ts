import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import type { Step } from '../conformance/world.ts';

// Puts a hook around the calls of `node:fs` and `node:fs/promises` that reach into certain folders, in whatever form
// they are made: with a callback, a promise, a FileHandle, or synchronously. It works by changing the module itself,
// under any test runner; so it must be imported before whatever keeps one of these functions for itself, as
// `promisify(fs.open)` does.

/** What changes a disk, or asks it to. */
const effects = [
  'open',
  'mkdir',
  'write',
  'writev',
  'fdatasync',
  'fsync',
  'rename',
  'link',
  'unlink',
  'rmdir',
  'rm',
  'truncate',
  'ftruncate',
] as const;

/** What only looks: when it has succeeded, nothing more can go wrong. Closing is no step at all. */
const looks = [
  'access',
  'stat',
  'lstat',
  'fstat',
  'readdir',
  'opendir',
  'readFile',
  'read',
  'readv',
] as const;

/** Those of a FileHandle, by the calls they are. */
const handleMethods: Readonly<Record<string, string>> = {
  datasync: 'fdatasync',
  sync: 'fsync',
  write: 'write',
  writev: 'writev',
  truncate: 'ftruncate',
  read: 'read',
  readv: 'readv',
  readFile: 'readFile',
  stat: 'fstat',
};

type Call = (this: unknown, ...args: unknown[]) => unknown;
type Calls = Record<string, Call>;
type Callback = (error: unknown, ...results: unknown[]) => void;

/** What a throw of it means: see `StepHook`. `target` is the path or the descriptor that the call is about. */
export type CallHook = (step: Step, target: unknown) => void;

/** The calls as they were, for whoever must not be watched. */
export const realFs: Readonly<typeof fs> = { ...fs };
const { closeSync, readlinkSync, readdirSync } = realFs;

/** By the folder they watch. */
const hooks = new Map<string, CallHook>();

/** Around every call that reaches into the folder from now on; with `undefined`, no more. */
export const interceptFolder = (folder: string, hook: CallHook | undefined): void => {
  if (hook === undefined) hooks.delete(folder);
  else hooks.set(folder, hook);
};

/** The paths of a folder's files, and of the folder, that this process has open. */
export const openFiles = (folder: string): string[] =>
  readdirSync('/proc/self/fd')
    .map((fd) => pathOf(Number(fd)) ?? '')
    .filter((path) => isWithin(folder, path));

/** Undefined for the descriptor of a listing of descriptors, which is closed by now. */
const pathOf = (fd: number): string | undefined => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
};

const isWithin = (folder: string, path: string): boolean => path === folder || path.startsWith(`${folder}/`);

/** By its first argument, a path or a descriptor, or its second, the path something is renamed or linked to. */
const hookOf = ([first, second]: readonly unknown[]): CallHook | undefined => {
  if (hooks.size === 0) return undefined;
  const paths = [typeof first === 'number' ? pathOf(first) : first, second];
  for (const [folder, hook] of hooks) {
    if (paths.some((path) => typeof path === 'string' && isWithin(folder, path))) return hook;
  }
  return undefined;
};

/** What a call has opened when a hook hides its success: nobody else can close it. */
const release = async (result: unknown): Promise<void> => {
  if (typeof result === 'number') closeSync(result);
  else if (isClosable(result)) await result.close();
};

const isClosable = (value: unknown): value is { close(): Promise<void> } =>
  typeof value === 'object' && value !== null && 'close' in value && typeof value.close === 'function';

const withCallback = (name: string, hasEffect: boolean, real: Call): Call =>
  function (...args) {
    const hook = hookOf(args);
    if (hook === undefined) return real.apply(this, args);
    const done = args.pop() as Callback;
    try {
      hook({ name, when: 'before' }, args[0]);
    } catch (error) {
      return setImmediate(done, error);
    }
    const after: Callback = (error, ...results) => {
      try {
        if (!error && hasEffect) hook({ name, when: 'after' }, args[0]);
      } catch (failure) {
        if (name === 'open') void release(results[0]);
        return done(failure);
      }
      done(error, ...results);
    };
    return real.apply(this, [...args, after]);
  };

/** The class of FileHandles is to be had from one of them only. */
let handles: Calls | undefined;

const wrapHandles = (handle: object): void => {
  if (handles !== undefined) return;
  handles = Object.getPrototypeOf(handle) as Calls;
  for (const [method, name] of Object.entries(handleMethods)) {
    const hasEffect = (effects as readonly string[]).includes(name);
    replace(handles, method, (real) =>
      withPromise(name, hasEffect, real, (self) => [(self as { readonly fd: number }).fd]),
    );
  }
};

const withPromise = (
  name: string,
  hasEffect: boolean,
  real: Call,
  target: (self: unknown, args: readonly unknown[]) => readonly unknown[],
): Call =>
  async function (...args) {
    const about = target(this, args);
    const hook = hookOf(about);
    hook?.({ name, when: 'before' }, about[0]);
    const result = await real.apply(this, args);
    if (name === 'open') wrapHandles(result as object);
    try {
      if (hasEffect) hook?.({ name, when: 'after' }, about[0]);
    } catch (failure) {
      if (name === 'open') await release(result);
      throw failure;
    }
    return result;
  };

const synchronous = (name: string, hasEffect: boolean, real: Call): Call =>
  function (...args) {
    const hook = hookOf(args);
    hook?.({ name, when: 'before' }, args[0]);
    const result = real.apply(this, args);
    try {
      if (hasEffect) hook?.({ name, when: 'after' }, args[0]);
    } catch (failure) {
      if (name === 'open') closeSync(result as number);
      throw failure;
    }
    return result;
  };

/** With its own properties, among them how `promisify` is to treat it. */
const replace = (calls: Calls, key: string, wrap: (real: Call) => Call): void => {
  const real = calls[key];
  if (real === undefined) return;
  calls[key] = Object.defineProperties(wrap(real), Object.getOwnPropertyDescriptors(real));
};

const callbacks = fs as unknown as Calls;
const promises = fs.promises as unknown as Calls;

for (const [names, hasEffect] of [
  [effects, true],
  [looks, false],
] as const) {
  for (const name of names) {
    replace(callbacks, name, (real) => withCallback(name, hasEffect, real));
    replace(callbacks, `${name}Sync`, (real) => synchronous(name, hasEffect, real));
    replace(promises, name, (real) => withPromise(name, hasEffect, real, (_, args) => args));
  }
}

syncBuiltinESMExports();

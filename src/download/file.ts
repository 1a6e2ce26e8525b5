import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  open,
  read,
  readlinkSync,
  realpath,
  stat,
} from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { systemCode, UploadError } from '../errors.ts';
import type { Entity } from './entity.ts';
import type { Representation } from './plan.ts';

export interface FileEntityOptions extends Pick<Representation, 'disposition' | 'headers'> {
  /** Whether a path may have segments that begin with a dot: `ignore` finds nothing there. @default 'ignore' */
  readonly dotfiles?: 'ignore' | 'allow';
  /**
   * The media type; as a function, of the decoded path below the root. What the function says is a guess from a name, so it
   * is sent with `X-Content-Type-Options: nosniff`.
   *
   * @default 'application/octet-stream'
   */
  readonly contentType?: string | ((path: string) => string | undefined);
}

type FileEntity = Entity & { readonly size: number; close(): Promise<void> };

// What may have to wait for a disk is asynchronous: to open, to read, to look a path up. To ask about what is open, or to
// close it, takes the system a few microseconds, and the way to another thread and back several times that.
const openFile = promisify(open) as (path: string, flags: number) => Promise<number>;
const statPath = promisify(stat) as (path: string, options: { bigint: true }) => Promise<BigIntStats>;
const realPath = promisify(realpath.native) as (path: string) => Promise<string>;

/** A named pipe that nobody writes to must not hold the open up; it is refused after it. */
const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/** Few, large reads, mostly from the page cache. */
const chunkBytes = 256 * 1024;

/** How long a file must have been left alone for its modification time to tell its versions apart. */
const settledMs = 2000;

/** What it means to an outsider that a path cannot be opened: nothing is there. */
const absent = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'EISDIR', 'ENXIO', 'EINVAL']);

/**
 * The regular file below `root` that a URL's path names; undefined where there is none to be given out. `path` is raw, with
 * its percent-encoding; a leading slash and a query are stepped over.
 *
 * Nothing outside `root` is ever found: not by `..` in any spelling, an encoded slash or a NUL, and not through a symbolic
 * link, wherever on the path it is. What is checked is the open file, so that nothing can be put in its place between
 * the check and the reading. Links that stay inside are followed.
 *
 * The file is open from then on: give the entity (or the promise of it) to `serve`, or close it. Rejects with the
 * system's own error when a file is there and cannot be opened.
 */
export const fileEntity = async (
  root: string,
  path: string,
  options: FileEntityOptions = {},
): Promise<FileEntity | undefined> => {
  const segments = decodePath(path);
  if (segments === undefined) return undefined;
  if (options.dotfiles !== 'allow' && segments.some((name) => name.startsWith('.'))) return undefined;
  const base = resolve(root);
  const full = join(base, ...segments);
  const fd = await openFile(full, flags).catch(unlessAbsent);
  if (fd === undefined) return undefined;
  let entity: FileEntity | undefined;
  try {
    const stats = fstatSync(fd, { bigint: true });
    if (stats.isFile() && (await isContained(fd, full, base)))
      entity = describe(fd, stats, segments.join('/'), options);
    return entity;
  } finally {
    if (entity === undefined) closeSync(fd);
  }
};

/** Undefined for a path that no file may have. A slash ends a segment only where it stands as itself. */
const decodePath = (path: string): readonly string[] | undefined => {
  const [raw = ''] = path.split(/[?#]/, 1);
  const segments: string[] = [];
  for (const part of raw.replace(/^\//, '').split('/')) {
    const name = decodeSegment(part);
    if (name === undefined || name === '' || name === '.' || name === '..') return undefined;
    if (/[/\0]/.test(name) || (sep === '\\' && /[\\:]/.test(name))) return undefined;
    segments.push(name);
  }
  return segments;
};

const decodeSegment = (part: string): string | undefined => {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined; // no encoding of anything
  }
};

/** Whether the open file is below the root, by the names it really has. */
const isContained = async (fd: number, path: string, base: string): Promise<boolean> => {
  const real = procPath(fd) ?? (await checkedPath(fd, path));
  if (real === undefined) return false;
  if (real === path) return true; // no link on the way, not even to the root
  const realBase = await realPath(base);
  return real.startsWith(realBase.endsWith(sep) ? realBase : realBase + sep);
};

/** Linux knows the path of what is open. */
const procPath = (fd: number): string | undefined => {
  if (process.platform !== 'linux') return undefined;
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch (error) {
    return unlessAbsent(error);
  }
};

/** Elsewhere the path is looked up once more, and must lead to the very file that is open. */
export const checkedPath = async (fd: number, path: string): Promise<string | undefined> => {
  const real = await realPath(path).catch(unlessAbsent);
  if (real === undefined) return undefined;
  const found = await statPath(real, { bigint: true }).catch(unlessAbsent);
  const opened = fstatSync(fd, { bigint: true });
  return found !== undefined && found.dev === opened.dev && found.ino === opened.ino ? real : undefined;
};

const unlessAbsent = (error: unknown): undefined => {
  if (!absent.has(systemCode(error) ?? '')) throw error;
};

const describe = (fd: number, stats: BigIntStats, path: string, options: FileEntityOptions): FileEntity => {
  const { contentType, dotfiles: _, headers, ...rest } = options;
  const guessed = typeof contentType === 'function' ? contentType(path) : undefined;
  const size = Number(stats.size);
  let isOpen = true;
  return {
    ...rest,
    size,
    etag: etagOf(stats),
    lastModified: Number(stats.mtimeMs),
    contentType: typeof contentType === 'string' ? contentType : guessed,
    headers: guessed === undefined ? headers : { 'X-Content-Type-Options': 'nosniff', ...headers },
    read: (start, end) => new FileSlice(fd, start, end),
    readBytes: (start, end) => readSlice(fd, start, end),
    async close() {
      // A read that is still under way goes to a buffer nobody looks at any more.
      const wasOpen = isOpen;
      isOpen = false;
      if (wasOpen) closeSync(fd);
    },
  };
};

/**
 * A strong validator must change with every change of the bytes (RFC 9110 section 8.8.1). The modification time of a file
 * does so only as finely as its file system and the kernel's clock tick: milliseconds here, two seconds on FAT. A file that
 * was written within that time may be written again and look the same, so its tag is weak; and it is another than
 * the strong one later, so that a cache that has kept the first of two such states finds out.
 */
const etagOf = ({ ino, size, mtimeNs }: BigIntStats): string => {
  const value = `${ino.toString(36)}-${size.toString(36)}-${mtimeNs.toString(36)}`;
  const isSettled = Number(mtimeNs / 1_000_000n) + settledMs <= Date.now();
  return isSettled ? `"${value}"` : `W/"${value}-new"`;
};

const ended = (offset: number): UploadError =>
  new UploadError('gone', 'the file has become shorter', { offset });

const readSlice = (fd: number, start: number, end: number): Promise<Uint8Array> =>
  new Promise((settle, reject) => {
    const buffer = Buffer.allocUnsafe(end - start);
    const fill = (filled: number): void => {
      read(fd, buffer, filled, buffer.byteLength - filled, start + filled, (error, count) => {
        if (error !== null) reject(error);
        else if (filled + count === buffer.byteLength) settle(buffer);
        else if (count === 0) reject(ended(start + filled));
        else fill(filled + count);
      });
    };
    fill(0);
  });

/** The bytes `[start, end)` of an open file, which it leaves open. */
class FileSlice extends Readable {
  readonly #fd: number;
  readonly #end: number;
  #position: number;

  constructor(fd: number, start: number, end: number) {
    super({ highWaterMark: chunkBytes });
    this.#fd = fd;
    this.#position = start;
    this.#end = end;
  }

  override _read(): void {
    const wanted = Math.min(chunkBytes, this.#end - this.#position);
    if (wanted === 0) return void this.push(null);
    const chunk = Buffer.allocUnsafeSlow(wanted);
    read(this.#fd, chunk, 0, wanted, this.#position, (error, count) => {
      if (this.destroyed) return;
      if (error !== null) return void this.destroy(error);
      if (count === 0) return void this.destroy(ended(this.#position));
      this.#position += count;
      this.push(count === wanted ? chunk : chunk.subarray(0, count));
    });
  }
}

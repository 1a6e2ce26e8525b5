import { createHash, randomBytes } from 'node:crypto';
import { closeSync, createReadStream, createWriteStream, fsync, open } from 'node:fs';
import { link, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { systemCode, UploadError } from './errors.ts';

const openFd = promisify((path: string, flags: string, done: (error: Error | null, fd: number) => void) =>
  open(path, flags, done),
);
const syncFd = promisify(fsync);

/** Makes names in a directory safe: a file's own sync does not cover its entry. */
export const syncDirectory = async (path: string): Promise<void> => {
  const fd = await openFd(path, 'r');
  try {
    await syncFd(fd);
  } finally {
    closeSync(fd); // of a directory there is nothing to wait for
  }
};

/** The digest of a stream in hexadecimal, by an algorithm as `node:crypto` names it. */
export const contentDigest = async (content: Readable, algorithm: string): Promise<string> => {
  const sum = createHash(algorithm);
  await pipeline(content, sum);
  return sum.digest('hex');
};

/**
 * Makes a stream's bytes the file `path`, which appears under its name only when it is complete, and synced
 * where asked. A file there that has the same bytes is success: a handler that ran before a crash has placed
 * it. Rejects with `target_exists` where there is another.
 */
export const placeCopy = async (content: Readable, path: string, sync: boolean): Promise<void> => {
  // Of its own, whoever else copies to the same name at the same time.
  const partial = join(dirname(path), `.${basename(path)}.${randomBytes(9).toString('base64url')}.partial`);
  const sum = createHash('sha256');
  const tap = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sum.update(chunk);
      done(null, chunk);
    },
  });
  try {
    await pipeline(content, tap, createWriteStream(partial, { flags: 'wx', flush: sync, mode: 0o600 }));
    await link(partial, path).catch(async (error: unknown) => {
      if (systemCode(error) !== 'EEXIST') throw error;
      const isSame = (await contentDigest(createReadStream(path), 'sha256')) === sum.digest('hex');
      if (!isSame) throw targetExists(path, error);
    });
  } finally {
    await rm(partial, { force: true });
  }
  if (sync) await syncDirectory(dirname(path));
};

/**
 * Gives the file `from` the second name `to`; across file systems, a copy of it. As `placeCopy` where there
 * is a file already.
 */
export const placeLink = async (from: string, to: string, sync: boolean): Promise<void> => {
  try {
    await link(from, to);
  } catch (error) {
    if (systemCode(error) === 'EXDEV') return placeCopy(createReadStream(from), to, sync);
    if (systemCode(error) !== 'EEXIST') throw error;
    if (!(await isSameContent(from, to))) throw targetExists(to, error);
  }
  if (sync) await syncDirectory(dirname(to));
};

const targetExists = (path: string, cause: unknown): UploadError =>
  new UploadError('target_exists', 'another file has the name to move to', { actual: path, cause });

const isSameContent = async (a: string, b: string): Promise<boolean> => {
  const [left, right] = await Promise.all([stat(a), stat(b)]);
  if (left.dev === right.dev && left.ino === right.ino) return true;
  if (left.size !== right.size || !right.isFile()) return false;
  const [one, other] = await Promise.all(
    [a, b].map((path) => contentDigest(createReadStream(path), 'sha256')),
  );
  return one === other;
};

import {
  close,
  closeSync,
  constants,
  fdatasync,
  ftruncate,
  mkdir,
  open,
  rename,
  unlink,
  writev,
} from 'node:fs';
import { promisify } from 'node:util';
import { ignoring, UploadError } from '../../src/errors.ts';

// The calls of `node:fs` itself rather than those of `node:fs/promises`: they cost half as much, and a FileHandle
// that is lost would close itself on garbage collection, with a warning.

export const openFd = promisify(
  (path: string, flags: number, done: (error: Error | null, fd: number) => void) =>
    open(path, flags, 0o600, done),
);

export const closeFd = promisify(close);

/** Content and what is needed to read it back, its size above all; not its name. */
export const syncFd = promisify(fdatasync);

export const makeDirectory = promisify((path: string, done: (error: Error | null) => void) =>
  mkdir(path, 0o700, done),
);

export const renamePath = promisify(rename);

const unlinkFile = promisify(unlink);

/** Harmless when there is none. */
export const removeFile = (path: string): Promise<void> => unlinkFile(path).catch(ignoring('ENOENT'));

const truncateFd = promisify(ftruncate);

/** Cuts off what is behind `length`; under a second name it would be found again. */
export const cutOff = async (path: string, length: number, sync: boolean): Promise<void> => {
  const fd = await openFd(path, constants.O_WRONLY);
  try {
    await truncateFd(fd, length);
    if (sync) await syncFd(fd);
  } finally {
    await closeFd(fd);
  }
};

/** Writes all the buffers' bytes at `position`, or fails. */
export const writeFully = (fd: number, buffers: readonly Uint8Array[], position: number): Promise<void> =>
  new Promise((resolve, reject) => {
    writeVector(fd, buffers, byteLength(buffers), position, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });

export const byteLength = (buffers: readonly Uint8Array[]): number => {
  let bytes = 0;
  for (const buffer of buffers) bytes += buffer.byteLength;
  return bytes;
};

/** `bytes` is how many the buffers hold. */
export const writeVector = (
  fd: number,
  buffers: readonly Uint8Array[],
  bytes: number,
  position: number,
  done: (error: Error | null) => void,
): void => {
  if (bytes === 0) return done(null);
  writev(fd, buffers, position, (error, written) => {
    if (error !== null) return done(error);
    if (written === bytes) return done(null);
    if (written === 0) return done(new UploadError('no_space', 'the file takes no more bytes'));
    // A short write: go on behind what the kernel took. Rare (a signal, the last block of a full disk), so
    // clarity first.
    writeVector(fd, rest(buffers, written), bytes - written, position + written, done);
  });
};

const rest = (buffers: readonly Uint8Array[], taken: number): Uint8Array[] => {
  let skip = taken;
  const out: Uint8Array[] = [];
  for (const buffer of buffers) {
    if (skip < buffer.byteLength) out.push(buffer.subarray(skip));
    skip = Math.max(0, skip - buffer.byteLength);
  }
  return out;
};

/** A new file with this content, synced when asked. What is left of it when it fails is the caller's to remove. */
export const createFile = async (
  path: string,
  buffers: readonly Uint8Array[],
  sync: boolean,
): Promise<void> => {
  const fd = await openFd(path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY);
  try {
    await writeFully(fd, buffers, 0);
    if (sync) await syncFd(fd);
  } finally {
    // Closing a small file waits for nothing; handing it to another thread and back costs ten times the call.
    closeSync(fd);
  }
};

import { createHash } from 'node:crypto';
import { type FileHandle, lstat, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ignoring, systemCode, UploadError } from '../errors.ts';
import type { Digest } from '../headers/digest.ts';
import { IntervalSet } from '../intervals.ts';

/** Which version of the resource the bytes are of: all requests have to agree on it. */
export interface Version {
  /** A strong entity tag, or a date of last modification that is as good. */
  readonly validator: string | undefined;
  /** In bytes; undefined where the server doesn't say before the end. */
  readonly length: number | undefined;
  /** `Repr-Digest`, as it was sent. */
  readonly digest: string | undefined;
}

interface Sidecar extends Version {
  readonly version: 1;
  readonly url: string;
  readonly ranges: readonly (readonly [number, number])[];
}

/** What is there is noted so often: that much is fetched again after a crash. */
const noteMs = 1_000;

/** The part of a download that is there: `<destination>.partial`, and beside it which part that is. */
export class PartialFile {
  readonly #path: string;
  readonly #url: string;
  #file: FileHandle;
  readonly #overwrite: boolean;
  /** An earlier process has begun it. */
  readonly #isContinued: boolean;
  #version: Version | undefined;
  #received: IntervalSet;
  #notedAt = performance.now();
  #noting: Promise<void> | undefined;

  private constructor(
    destination: string,
    url: string,
    file: FileHandle,
    overwrite: boolean,
    found: Sidecar | undefined,
  ) {
    this.#path = destination;
    this.#url = url;
    this.#file = file;
    this.#overwrite = overwrite;
    this.#isContinued = found !== undefined;
    this.#version = found;
    this.#received = IntervalSet.from((found?.ranges ?? []).map(([start, end]) => ({ start, end })));
  }

  /**
   * Goes on with what an earlier process left, where that is of the same URL and can be told from other versions.
   * Rejects with `target_exists` where another file has the name and may not be overwritten.
   */
  static async open(destination: string, url: string, overwrite: boolean): Promise<PartialFile> {
    const found = await readSidecar(`${destination}.partial.json`, url);
    if (!overwrite) await assertFree(destination, found !== undefined);
    if (found === undefined) {
      return new PartialFile(destination, url, await create(`${destination}.partial`), overwrite, found);
    }
    const file = await open(`${destination}.partial`, 'r+').catch(ignoring('ENOENT'));
    if (file === undefined) {
      await rm(`${destination}.partial.json`, { force: true });
      return PartialFile.open(destination, url, overwrite);
    }
    const partial = new PartialFile(destination, url, file, overwrite, found);
    // A file that is shorter than its notes has lost something.
    if ((await file.stat()).size < partial.received.end) await partial.restart(undefined);
    return partial;
  }

  get version(): Version | undefined {
    return this.#version;
  }

  get received(): IntervalSet {
    return this.#received;
  }

  /**
   * Forgets everything, for another version of the resource. What another process may be at, or has put in its place,
   * stays.
   */
  async restart(version: Version | undefined): Promise<void> {
    await this.#noting;
    await rm(`${this.#path}.partial.json`, { force: true });
    const fresh = await create(`${this.#path}.partial`);
    await this.#file.close();
    this.#file = fresh;
    this.#received = new IntervalSet();
    this.#version = version;
  }

  async write(chunk: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await this.#file.write(chunk, done, chunk.length - done, offset + done);
      done += bytesWritten;
    }
    this.#received.add(offset, offset + chunk.length);
    if (performance.now() - this.#notedAt < noteMs) return;
    this.#notedAt = performance.now();
    await this.#assertOurs();
    await this.note();
  }

  /** What it says is there is safe. Of a file that is another process's by now it says nothing. */
  note(): Promise<void> {
    this.#noting ??= this.#note().finally(() => {
      this.#noting = undefined;
    });
    return this.#noting;
  }

  /** Rejects with `digest_mismatch`; nothing is left then. */
  async verify({ algorithm, hash, value }: Digest): Promise<void> {
    const sum = createHash(hash);
    const stream = this.#file.createReadStream({ start: 0, autoClose: false, highWaterMark: 1024 * 1024 });
    for await (const chunk of stream as AsyncIterable<Buffer>) sum.update(chunk);
    const actual = sum.digest('hex');
    if (actual === value) return;
    await this.restart(undefined);
    await rm(`${this.#path}.partial`, { force: true });
    throw new UploadError(
      'digest_mismatch',
      `the content does not have the ${algorithm} the server announced`,
      {
        expected: value,
        actual,
      },
    );
  }

  /**
   * Puts it in its place. Rejects as `open` where another file has appeared there meanwhile, and all that has arrived
   * stays; and with `superseded` where another download to this place has begun anew or has ended.
   */
  async finish(): Promise<void> {
    await this.#noting;
    await this.#file.sync();
    await this.#assertOurs();
    if (!this.#overwrite) await this.#takeName();
    await rename(`${this.#path}.partial`, this.#path);
    await rm(`${this.#path}.partial.json`, { force: true });
    const folder = await open(dirname(this.#path), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  async close(): Promise<void> {
    await this.#noting;
    await this.#file.close();
  }

  /** Renaming replaces what is there. Making a file does not, and on every file system. */
  async #takeName(): Promise<void> {
    await this.note(); // whoever finds the name taken by us must find this too
    try {
      await (await open(this.#path, 'wx')).close();
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error;
      await assertFree(this.#path, this.#isContinued);
    }
  }

  async #isOurs(): Promise<boolean> {
    const [own, there] = await Promise.all([
      this.#file.stat({ bigint: true }),
      stat(`${this.#path}.partial`, { bigint: true }).catch(ignoring('ENOENT')),
    ]);
    return own.ino === there?.ino && own.dev === there.dev;
  }

  async #assertOurs(): Promise<void> {
    if (await this.#isOurs()) return;
    throw new UploadError('superseded', 'another download to the same place has taken over', {
      actual: this.#path,
    });
  }

  async #note(): Promise<void> {
    // Without a validator nobody could tell whether what follows is of the same version.
    if (this.#version?.validator === undefined || !(await this.#isOurs())) return;
    const sidecar: Sidecar = {
      version: 1,
      url: this.#url,
      ...this.#version,
      ranges: this.#received.ranges().map(({ start, end }) => [start, end]),
    };
    await this.#file.datasync();
    await writeWhole(`${this.#path}.partial.json`, JSON.stringify(sidecar));
  }
}

/** An empty file may be the name that an earlier process had taken when it was killed. */
const assertFree = async (path: string, isContinued: boolean): Promise<void> => {
  const target = await lstat(path).catch(ignoring('ENOENT'));
  if (target === undefined || (target.size === 0 && isContinued)) return;
  throw new UploadError('target_exists', 'another file has that name', { actual: path });
};

/** A file of its own, whoever is at the one that has the name. */
const create = async (path: string): Promise<FileHandle> => {
  for (;;) {
    await rm(path, { force: true });
    try {
      return await open(path, 'wx+');
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error; // somebody was quicker
    }
  }
};

const writeWhole = async (path: string, text: string): Promise<void> => {
  const file = await open(`${path}.new`, 'w');
  try {
    await file.writeFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
};

/** Undefined where it is missing, torn, or of something else. */
const readSidecar = async (path: string, url: string): Promise<Sidecar | undefined> => {
  const text = (await readFile(path, 'utf8').catch(ignoring('ENOENT'))) ?? '';
  let value: Partial<Sidecar> | null;
  try {
    value = JSON.parse(text) as Partial<Sidecar> | null;
  } catch {
    return undefined; // not one that we have written whole
  }
  const valid =
    value !== null &&
    value.version === 1 &&
    value.url === url &&
    typeof value.validator === 'string' &&
    Array.isArray(value.ranges) &&
    value.ranges.every(
      (range) => Array.isArray(range) && range.length === 2 && range.every(Number.isSafeInteger),
    );
  return valid ? (value as Sidecar) : undefined;
};

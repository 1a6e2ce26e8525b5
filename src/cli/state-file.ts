import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { SavedUpload } from '../client/index.ts';
import { ignoring } from '../errors.ts';

/** What an upload is of: with another size or time of modification a file is another. */
interface Pin {
  readonly url: string;
  readonly path: string;
  readonly size: number;
  /** Nanoseconds, in decimal. */
  readonly modified: string;
}

interface Contents extends Pin {
  readonly version: 1;
  readonly upload: SavedUpload;
}

/** No server keeps an upload for so long unless it is told to. */
const forgottenMs = 30 * 24 * 60 * 60 * 1000;

/** Not beside the files: their folder may not be ours to write, and `*` would take the notes for more of them. */
export const stateFolder = (env: NodeJS.ProcessEnv = process.env): string => {
  const { XDG_STATE_HOME: xdg, LOCALAPPDATA: local } = env;
  if (xdg !== undefined && xdg !== '') return join(xdg, 'resumable-http');
  if (process.platform === 'win32' && local !== undefined) return join(local, 'resumable-http', 'state');
  return join(homedir(), '.local', 'state', 'resumable-http');
};

/** Where an upload of one file to one URL has got to, for the next process. */
export class StateFile {
  readonly path: string;
  readonly #pin: Pin;
  #written = '';
  #writing = Promise.resolve();

  private constructor(path: string, pin: Pin) {
    this.path = path;
    this.#pin = pin;
  }

  /** Rejects when the file cannot be looked at. */
  static async of(file: string, url: URL, folder = stateFolder()): Promise<StateFile> {
    const { size, mtimeNs } = await stat(file, { bigint: true });
    const pin = { url: url.href, path: resolve(file), size: Number(size), modified: String(mtimeNs) };
    const name = createHash('sha256').update(`${pin.path}\n${pin.url}`).digest('hex').slice(0, 32);
    return new StateFile(join(folder, `${name}.json`), pin);
  }

  /** What was kept of an upload of this file as it is now; `changed` when it was of the file as it was before. */
  async load(): Promise<SavedUpload | 'changed' | undefined> {
    const text = await readFile(this.path, 'utf8').catch(ignoring('ENOENT'));
    if (text === undefined) return undefined;
    let found: Partial<Contents> | null;
    try {
      found = JSON.parse(text) as Partial<Contents> | null;
    } catch {
      return undefined; // not one that we have written whole
    }
    const { url, path, size, modified } = this.#pin;
    if (found?.version !== 1 || found.url !== url || found.path !== path || found.upload === undefined)
      return undefined;
    return found.size === size && found.modified === modified ? found.upload : 'changed';
  }

  /** To be called often. A session URL is as good as a password, so nobody else may read it. */
  save(upload: SavedUpload): Promise<void> {
    const text = `${JSON.stringify({ version: 1, ...this.#pin, upload } satisfies Contents)}\n`;
    if (text === this.#written) return this.#writing;
    this.#written = text;
    this.#writing = this.#writing.then(async () => {
      const folder = join(this.path, '..');
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeFile(`${this.path}.${process.pid}`, text, { mode: 0o600 });
      await rename(`${this.path}.${process.pid}`, this.path);
      await forgetOld(folder);
    });
    return this.#writing;
  }

  async remove(): Promise<void> {
    await this.#writing;
    this.#written = '';
    await rm(this.path, { force: true });
  }
}

const forgetOld = async (folder: string): Promise<void> => {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    // Another process may have been faster.
    const found = await stat(path).catch(ignoring('ENOENT'));
    if (found !== undefined && Date.now() - found.mtimeMs > forgottenMs) await rm(path, { force: true });
  }
};

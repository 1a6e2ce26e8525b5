// Programs of a newer Debian than the machine's own, run where they lie: apt resolves and verifies the packages against
// a state of its own, dpkg-deb unpacks them into a cache folder, and that release's own loader starts them from there.
// Nothing is installed or mounted, root is not needed, and no library of the machine is mixed in.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readlink, rename, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
const mirror = process.env.S3_DEBIAN_MIRROR ?? 'http://deb.debian.org/debian';

export type Say = (line: string) => void;

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeout?: number;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a program to its end; resolves with what it printed, rejects with the last lines it complained with. */
export const run = (command: readonly string[], options: RunOptions = {}): Promise<string> => {
  const [program = '', ...args] = command;
  const { signal, ...others } = options;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const settings = { ...others, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 } as const;
    const child = execFile(program, args, settings, (error, stdout, stderr) => {
      signal?.removeEventListener('abort', kill);
      if (signal?.aborted) return reject(signal.reason);
      if (error === null) return resolve(stdout);
      const how = error.killed ? 'was given up after its time' : `ended with ${error.code ?? error.signal}`;
      const complaint = lastLines(stderr || stdout, 6) || error.message;
      reject(new Error(`${args.find((arg) => arg.includes('/bin/')) ?? program} ${how}: ${complaint}`));
    });
    // Not by the option `signal`: that rejects while the program still runs, and writes to what is then removed.
    const kill = (): void => void child.kill('SIGKILL');
    signal?.addEventListener('abort', kill, { once: true });
  });
};

export const lastLines = (text: string, count: number): string =>
  text
    .trimEnd()
    .split('\n')
    .slice(-count)
    .map((line) => line.slice(0, 300))
    .join('\n');

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

/** An unpacked set of packages. */
export class PackageTree {
  readonly root: string;
  readonly suite: string;
  /** Whether it was found in the cache. */
  readonly kept: boolean;
  /** Its architecture's name in library paths, such as `x86_64-linux-gnu`. */
  readonly triplet: string;
  readonly #loader: string;

  private constructor(root: string, suite: string, kept: boolean, triplet: string, loader: string) {
    this.root = root;
    this.suite = suite;
    this.kept = kept;
    this.triplet = triplet;
    this.#loader = loader;
  }

  static async open(root: string, suite: string, kept: boolean): Promise<PackageTree> {
    // A release from before the merge of /lib into /usr/lib has its loader in the former.
    for (const library of ['usr/lib', 'lib']) {
      const names = await readdir(join(root, library)).catch(() => []);
      for (const triplet of names.filter((name) => /-linux-gnu\w*$/.test(name))) {
        const loader = (await readdir(join(root, library, triplet))).find((name) =>
          /^ld-linux.*\.so/.test(name),
        );
        if (loader !== undefined)
          return new PackageTree(root, suite, kept, triplet, join(root, library, triplet, loader));
      }
    }
    throw new Error(`no loader among the packages in ${root}`);
  }

  /** The command line that runs one of its programs. */
  command(program: string, ...args: string[]): string[] {
    const { root, triplet } = this;
    const libraries = [`usr/lib/${triplet}`, `usr/lib/${triplet}/ceph`, `lib/${triplet}`];
    const path = libraries.map((folder) => join(root, folder)).join(':');
    return [this.#loader, '--inhibit-cache', '--library-path', path, join(root, 'usr/bin', program), ...args];
  }

  /** The name of its Python program, which carries the version. */
  python(): Promise<string> {
    return readlink(join(this.root, 'usr/bin/python3'));
  }
}

export interface Wanted {
  readonly name: string;
  readonly packages: readonly string[];
  readonly suite: string;
  readonly say: Say;
  readonly signal?: AbortSignal | undefined;
}

/** Finds the packages in the cache, or downloads and unpacks them there. */
export const packageTree = async (wanted: Wanted): Promise<PackageTree> => {
  const { name, packages, suite, say } = wanted;
  const cache = await cacheFolder();
  const root = join(cache, `${name}-${suite}-${process.arch}-${fingerprint(packages)}`);
  if (await exists(root)) {
    try {
      return await PackageTree.open(root, suite, true);
    } catch (error) {
      say(`${(error as Error).message}, they are taken anew`);
      await rm(root, { recursive: true, force: true });
    }
  }

  const partial = `${root}.partial-${process.pid}`;
  try {
    await mkdir(join(partial, 'root'), { recursive: true });
    const archives = await download(wanted, join(partial, 'apt'));
    say(`unpacking ${archives.length} packages into ${root}`);
    await unpack(archives, join(partial, 'root'), wanted.signal);
    // Another run may have been quicker; its tree is as good.
    await rename(join(partial, 'root'), root).catch(async (error: unknown) => {
      if (!(await exists(root))) throw error;
    });
  } finally {
    await rm(partial, { recursive: true, force: true, maxRetries: 5 });
  }
  return PackageTree.open(root, suite, false);
};

const fingerprint = (packages: readonly string[]): string =>
  createHash('sha256')
    .update([mirror, ...packages].join(' '))
    .digest('hex')
    .slice(0, 8);

/** Rejects where no packages can be had. */
export const requireDebian = async (): Promise<void> => {
  for (const program of ['apt-get', 'dpkg-deb', 'setpriv']) {
    await run([program, '--version']).catch(() => {
      throw new Error(`it needs Debian, there is no ${program} here`);
    });
  }
  if (!(await exists(keyring)))
    throw new Error(`it needs ${keyring} (package debian-archive-keyring) to verify packages`);
};

const cacheFolder = async (): Promise<string> => {
  const folder = join(process.env.XDG_CACHE_HOME || tmpdir(), 'resumable-http-s3-servers');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // Programs are run from it: in a shared folder for temporary files, somebody else could have made it.
  const found = await lstat(folder);
  if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & 0o022) !== 0)
    throw new Error(`${folder} is not a folder that only this user can write`);
  await sweep(folder);
  return folder;
};

/** Removes what a killed run left half-made. */
const sweep = async (folder: string): Promise<void> => {
  for (const name of await readdir(folder)) {
    const pid = /\.partial-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid)))
      await rm(join(folder, name), { recursive: true, force: true });
  }
};

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

const download = async (wanted: Wanted, state: string): Promise<string[]> => {
  const { packages, suite, say, signal } = wanted;
  const archives = join(state, 'archives');
  await mkdir(join(archives, 'partial'), { recursive: true });
  await mkdir(join(state, 'lists/partial'), { recursive: true });
  await writeFile(join(state, 'status'), '');
  await writeFile(join(state, 'sources.list'), `deb [signed-by=${keyring}] ${mirror} ${suite} main\n`);
  const settings = {
    'Dir::State': state,
    // With no package installed, all that is needed is downloaded, down to the C library.
    'Dir::State::status': join(state, 'status'),
    'Dir::State::Lists': join(state, 'lists'),
    'Dir::Cache': state,
    'Dir::Cache::archives': archives,
    'Dir::Etc::sourcelist': join(state, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Debug::NoLocking': 'true',
    'APT::Default-Release': '',
    'APT::Install-Recommends': 'false',
    'APT::Sandbox::User': 'root',
    'APT::Update::Error-Mode': 'any',
    // A mirror that stands still is good enough for tests, and a fallback to an old release is worse.
    'Acquire::Check-Valid-Until': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Acquire::http::Timeout': '20',
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  const apt = (...args: string[]): Promise<string> =>
    run(['apt-get', ...options, '--quiet', '--yes', ...args], {
      signal,
      env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    });
  say(`reading the index of Debian ${suite} at ${mirror}`);
  await apt('update');
  say(`downloading ${packages.join(', ')} and what they need`);
  await apt('install', '--download-only', ...packages);
  return (await readdir(archives))
    .filter((name) => name.endsWith('.deb'))
    .map((name) => join(archives, name));
};

const unpack = async (archives: readonly string[], root: string, signal?: AbortSignal): Promise<void> => {
  const rest = [...archives];
  const worker = async (): Promise<void> => {
    for (let archive = rest.pop(); archive !== undefined; archive = rest.pop())
      await run(['dpkg-deb', '--extract', archive, root], { signal });
  };
  // All are waited for before a failure is told, or one still writing would undo the removal that follows.
  const workers = await Promise.allSettled(
    Array.from({ length: Math.min(availableParallelism(), 4) }, worker),
  );
  for (const result of workers) if (result.status === 'rejected') throw result.reason;
};

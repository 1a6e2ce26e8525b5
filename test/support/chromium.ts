import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageTree, requireDebian, type Say } from '../s3-servers/packages.ts';

export interface Browser {
  readonly executable: string;
  readonly env: Readonly<Record<string, string>>;
}

/** A network that swallows what it is sent is as good as none. */
const fetchMs = 240_000;

/** What the environment names or the machine has installed. */
const installed = (): Browser | undefined => {
  if (process.env.CHROMIUM) return { executable: process.env.CHROMIUM, env: {} };
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    try {
      return { executable: execFileSync('which', [name], { encoding: 'utf8' }).trim(), env: {} };
    } catch {
      // not under this name
    }
  }
  return undefined;
};

/**
 * Chromium: the machine's own, or, with `TEST_BROWSER=fetch`, Debian's, unpacked into a cache where nothing is installed and root is not
 * needed. That is of the machine's own release, whose C library and loader it runs with. Rejects with the
 * reason where there is none.
 */
export const findChromium = async (say: Say): Promise<Browser> => {
  const own = installed();
  if (own !== undefined) return own;
  if (process.env.TEST_BROWSER !== 'fetch') {
    throw new Error('there is no Chromium here (npm run test:browser fetches one)');
  }
  await requireDebian();
  const release = await readFile('/etc/os-release', 'utf8');
  const suite = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1];
  if (suite === undefined || !/^ID=debian$/m.test(release)) throw new Error('it needs a release of Debian');
  const { root, triplet } = await packageTree({
    name: 'chromium',
    packages: ['chromium'],
    suite,
    say,
    signal: AbortSignal.timeout(fetchMs),
  });
  // Not the C library itself, which lies in /lib: that has to fit the loader.
  const folders = [triplet, `${triplet}/pulseaudio`, 'chromium'];
  const libraries = folders.map((folder) => join(root, 'usr/lib', folder));
  return {
    executable: join(root, 'usr/lib/chromium/chromium'),
    env: { LD_LIBRARY_PATH: libraries.join(':'), FONTCONFIG_PATH: join(root, 'etc/fonts') },
  };
};

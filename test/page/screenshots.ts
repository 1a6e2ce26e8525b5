// Takes pictures of the page, in light and dark, wide and narrow: `npm run screenshots -- FOLDER`.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { buildInto, launchBrowser } from '../support/browser.ts';
import { content } from '../support/requests.ts';
import { PageServer } from './support/page-process.ts';
import { Visit } from './support/visit.ts';

const MiB = 1024 * 1024;
const widths = { wide: 1100, narrow: 360 } as const;

const shoot = async (
  browser: Browser,
  modules: string,
  paths: readonly string[],
  folder: string,
  colorScheme: 'light' | 'dark',
  width: keyof typeof widths,
): Promise<void> => {
  const server = await PageServer.start(modules);
  const viewport = { width: widths[width], height: 900 };
  const visit = await Visit.start(browser, server.url, { colorScheme, viewport, deviceScaleFactor: 2 });
  const take = (state: string): Promise<unknown> =>
    visit.page.screenshot({
      animations: 'disabled',
      path: join(folder, `${state}-${colorScheme}-${width}.png`),
      fullPage: true,
    });
  try {
    await take('idle');
    await visit.limit(8 * MiB);
    await visit.choose(...paths);
    await visit.reach('minutes.pdf', 'done');
    await visit.pass('holiday film.mp4', 30);
    await take('uploading');
    await server.kill();
    await visit.page.locator('#banner').waitFor();
    await take('offline');
    await server.restart();
    await visit.page.reload();
    await visit.page.getByText('picked up at').first().waitFor();
    await visit.button('Pause photos.zip').click();
    await visit.reach('photos.zip', 'paused');
    await visit.reach('holiday film.mp4', 'sending');
    await take('resumed');
    await visit.button('Resume photos.zip').click();
    await visit.limit(0);
    for (const name of ['holiday film.mp4', 'photos.zip', 'backup.tar']) await visit.reach(name, 'done');
    await take('done');
    for (const problem of visit.problems) console.error(problem);
  } finally {
    await visit.close();
    await server.close();
  }
};

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('where to? npm run screenshots -- FOLDER');
await mkdir(folder, { recursive: true });
const scratch = await mkdtemp(join(tmpdir(), 'resumable-screenshots-'));
const browser = await launchBrowser();
try {
  await buildInto(join(scratch, 'built'));
  const files: readonly (readonly [string, number])[] = [
    ['minutes.pdf', 240_000],
    ['holiday film.mp4', 48 * MiB],
    ['photos.zip', 40 * MiB],
    ['backup.tar', 12 * MiB],
  ];
  const paths = files.map(([name]) => join(scratch, name));
  for (const [at, [name, bytes]] of files.entries()) await writeFile(join(scratch, name), content(bytes, at));
  for (const scheme of ['light', 'dark'] as const) {
    for (const width of ['wide', 'narrow'] as const)
      await shoot(browser, join(scratch, 'built/src'), paths, folder, scheme, width);
  }
  console.log(folder);
} finally {
  await browser.close();
  await rm(scratch, { recursive: true, force: true });
}
